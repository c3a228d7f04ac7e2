"""A finished model, ready to use."""

from __future__ import annotations

from pathlib import Path

from volunet.inference.segmenter import Segmenter
from volunet.packaging.model_file import load_model
from volunet.planning.machine import find_device


def load(model: Path | str, *, device: str | None = None) -> Segmenter:
    """A model, ready to segment: call it with what `volunet.read` gives.

    Args:
        model: the folder that `train` wrote, or its `model/` folder.
        device: "cpu", "cuda", "mps"; by default the best there is.

    Raises:
        ModelError: it is missing, damaged, or its weights do not fit its plan.
        ConfigError: there is no such device here.
    """
    return load_model(Path(model), device=find_device(device))
