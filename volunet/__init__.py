"""3-D medical segmentation: from labelled scans to a model, from scans to masks and scores.

    import volunet as vn
    result = vn.load("run/model")(vn.read("ct.nii.gz"))
    vn.write(result.labels, "mask.nii.gz")

The names are loaded when they are first used, so that importing volunet is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volunet.api.models import load as load
    from volunet.api.planning import plan as plan
    from volunet.api.training import train as train
    from volunet.evaluation.evaluate import evaluate as evaluate
    from volunet.io.read import read as read
    from volunet.io.write import write as write
    from volunet.recipe import Recipe as Recipe
    from volunet.space.grid import Grid as Grid
    from volunet.space.volume import Volume as Volume

_PLACES = {
    "Grid": "volunet.space.grid",
    "Recipe": "volunet.recipe",
    "Volume": "volunet.space.volume",
    "evaluate": "volunet.evaluation.evaluate",
    "load": "volunet.api.models",
    "plan": "volunet.api.planning",
    "read": "volunet.io.read",
    "train": "volunet.api.training",
    "write": "volunet.io.write",
}

__all__ = ["Grid", "Recipe", "Volume", "evaluate", "load", "plan", "read", "train", "write"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"volunet offers {', '.join(__all__)}, and no {name!r}.")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
