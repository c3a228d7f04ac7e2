"""Networks that volunet can build, such as MONAI's, with weights learnt in another loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from volunet.errors import ModelError
from volunet.models.weight_files import read_weights, refuse_nonfinite
from volunet.packaging.model_file import Training, save_model
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan

SUPERVISING = {"deep_supervision_heads", "super_head"}
"""Parts of a DynUNet that only training looks at."""
TOLD = 4
"""Names of weights that a message lists, at most."""


def import_monai(
    checkpoint: Path,
    plan: Plan,
    output: Path,
    *,
    name: str,
    licence: str = "",
    intended_use: str = "",
) -> Path:
    """Writes a model that runs the network of a checkpoint; returns its `model.json`.

    Args:
        checkpoint: a state_dict() in safetensors or in torch's format, alone or beside other
            things, its names maybe after a prefix such as "module.".
        plan: what the network is, and how a scan becomes its input.

    Raises:
        ModelError: the file cannot be read safely, or its weights are not those of the network.
        WriteError: the model could not be written.
    """
    found = read_weights(checkpoint)
    return save_model(
        output,
        fit_names(found.tensors, plan),
        name=name,
        plan=plan,
        fingerprint=Fingerprint(cases={}),
        training=Training(cases=0, validation_dice={}, elsewhere=f"the checkpoint {found.name}"),
        licence=licence,
        intended_use=intended_use,
    )


def fit_names(tensors: Mapping[str, Tensor], plan: Plan) -> dict[str, Tensor]:
    """The weights by the network's own names.

    Raises:
        ModelError: one is missing, left over, of another shape, or not finite.
    """
    built = plan.build_network().state_dict()
    lead = ""
    while all(name.startswith(lead + "net.") for name in built):  # of slices, and of neighbours
        lead += "net."
    own = {name.removeprefix(lead): weight for name, weight in built.items()}
    prefix = _prefix(tensors, own)
    given = {
        name.removeprefix(prefix): weight
        for name, weight in tensors.items()
        if not SUPERVISING & set(name.split("."))
    }
    given = {name: _as_flat(weight, own.get(name), plan.flat) for name, weight in given.items()}
    wrong = [f"{name} is missing" for name in own if name not in given]
    wrong += [f"{name} is left over" for name in given if name not in own]
    wrong += [
        f"{name} is {tuple(given[name].shape)}, planned {tuple(weight.shape)}"
        for name, weight in own.items()
        if name in given and given[name].shape != weight.shape
    ]
    if wrong:
        raise ModelError(
            f"The weights are not those of the {plan.family} that the recipe describes: "
            f"{'; '.join(wrong[:TOLD])}{f'; and {len(wrong) - TOLD} more' * (len(wrong) > TOLD)}. "
            "Give plan.family, its settings and plan.options the values that it was trained with."
        )
    refuse_nonfinite(given, "The checkpoint")
    return {lead + name: given[name].to(weight) for name, weight in own.items()}


def _as_flat(given: Tensor, own: Tensor | None, flat: int | None) -> Tensor:
    """A kernel of two axes as one of three that is flat across slices, where that is planned."""
    if own is None or flat is None or own.ndim != given.ndim + 1:
        return given
    return given.unsqueeze(2 + flat)


def _prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What all names begin with that the network's own do not."""
    first = next(iter(own))
    prefixes = ["", *(name.removesuffix(first) for name in tensors if name.endswith(first))]
    return max(prefixes, key=lambda p: sum(name.removeprefix(p) in own for name in tensors))
