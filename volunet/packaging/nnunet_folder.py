"""A trained model of nnU-Net v2 as it lies on disk: plans, dataset and checkpoints, read as data.

A checkpoint is a pickle, which could run code when it is opened. It is opened by a reader that
knows tensors, plain Python and numpy's numbers, and refuses all else.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from volunet.config import read_values
from volunet.errors import ConfigError, ModelError
from volunet.models.weight_files import check_archive

Which = Literal["final", "best"]

NUMBERS: list[Any] = [
    (np._core.multiarray.scalar, name)  # type: ignore[attr-defined]
    for name in ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
]
TYPES: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd")]


@dataclass(frozen=True)
class Checkpoint:
    """One fold of a model.

    Args:
        fold: "0" to "4", or "all".
        weights: of the network, by nnU-Net's names.
        configuration: the name of it in the plans.
        mirror: axes of the network that it may see flipped.
        trainer: the name of nnU-Net's class that trained it.
        epochs: trained.
        dice: of each label on the cases held out, by nnU-Net's key for it; empty where unknown.
    """

    fold: str
    weights: Mapping[str, Tensor]
    configuration: str
    mirror: tuple[int, ...]
    trainer: str
    epochs: int
    dice: Mapping[str, float]


@dataclass(frozen=True)
class NnunetFolder:
    """What the folder of a trained model holds.

    Args:
        plans: plans.json.
        dataset: dataset.json.
        fingerprint: dataset_fingerprint.json, empty where there is none.
        checkpoints: one for each fold, one at least, of one configuration.
    """

    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    checkpoints: tuple[Checkpoint, ...]


def read_nnunet_folder(
    folder: Path, *, folds: Sequence[str] = (), which: Which = "final"
) -> NnunetFolder:
    """Reads a folder such as `nnUNetTrainer__nnUNetPlans__3d_fullres`.

    Args:
        folds: "0" to "4" or "all"; by default all numbered ones that are there.
        which: the checkpoint of each fold.

    Raises:
        ModelError: a file is missing or damaged, or a checkpoint holds more than data.
    """
    try:
        plans, dataset = read_values(folder / "plans.json"), read_values(folder / "dataset.json")
        facts = folder / "dataset_fingerprint.json"
        fingerprint = read_values(facts) if facts.is_file() else {}
    except ConfigError as error:
        raise ModelError(
            f"{folder} is not a trained model of nnU-Net v2: {error} Give the folder that holds "
            "plans.json, dataset.json and fold_0, such as nnUNetTrainer__nnUNetPlans__3d_fullres."
        ) from error
    found = folds or _find_folds(folder, which)
    checkpoints = tuple(_read_fold(folder / f"fold_{fold}", fold, which) for fold in found)
    if len(names := {c.configuration for c in checkpoints}) > 1:
        raise ModelError(f"The folds are of different configurations: {sorted(names)}.")
    return NnunetFolder(plans, dataset, fingerprint, checkpoints)


def _find_folds(folder: Path, which: Which) -> list[str]:
    files = folder.glob(f"fold_*/checkpoint_{which}.pth")
    folds = sorted(file.parent.name.removeprefix("fold_") for file in files)
    numbered = [fold for fold in folds if fold.isdigit()]
    if not (numbered or folds):
        other = "best" if which == "final" else "final"
        raise ModelError(
            f"There is no fold_*/checkpoint_{which}.pth in {folder}. Where training was stopped "
            f"early there may be another: try --checkpoint {other}."
        )
    return numbered or folds


def _read_fold(folder: Path, fold: str, which: Which) -> Checkpoint:
    path = folder / f"checkpoint_{which}.pth"
    content = load_data_only(path)
    try:
        weights = {str(key): value for key, value in content["network_weights"].items()}
        configuration = str(content["init_args"]["configuration"])
        trainer = str(content.get("trainer_name", "an unnamed trainer"))
        mirror = content.get("inference_allowed_mirroring_axes") or ()
        axes = tuple(int(axis) for axis in mirror)
        epochs = int(content.get("current_epoch", 0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a checkpoint of nnU-Net v2: no {error}.") from error
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{path} has weights that are not tensors.")
    return Checkpoint(fold, weights, configuration, axes, trainer, epochs, _read_dice(folder))


def load_data_only(path: Path) -> Any:
    """What a file of torch's holds: tensors, plain Python and numpy's numbers.

    Raises:
        ModelError: it is missing or damaged, or holds anything that could run code.
    """
    if not path.is_file():
        raise ModelError(f"There is no {path.name} in {path.parent}.")
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is damaged, or not a file that torch saved.")
    with path.open("rb") as file:
        check_archive(file, str(path))
    try:
        with torch.serialization.safe_globals([*NUMBERS, *TYPES]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{named[1]}, which is not data" if named else "what is not data"
        raise ModelError(
            f"{path.name} of {path.parent.name} holds {what}; opening it could run code, so it was "
            "not opened. Save it again with nothing but tensors, numbers and text in it."
        ) from error
    except Exception as error:  # what is damaged makes unpickling raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path} cannot be read; it may be damaged: {reason}") from error


def _read_dice(folder: Path) -> dict[str, float]:
    """nnU-Net's own scores of the cases held out, where they lie beside the checkpoint.

    A structure that none of them has is NaN there, and is left out.
    """
    path = folder / "validation" / "summary.json"
    if not path.is_file():
        return {}
    try:
        mean = read_values(path).get("mean", {})
        dice = {key: float(of["Dice"]) for key, of in mean.items() if "Dice" in of}
    except (ConfigError, AttributeError, TypeError, ValueError):
        return {}  # they are told, and nothing rests on them
    return {key: value for key, value in dice.items() if math.isfinite(value)}
