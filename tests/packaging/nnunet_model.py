"""Folders of trained models as nnU-Net v2 leaves them, from the cases of `tests.golden`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.golden.nnunet_cases import CASES, Case, plans_of
from volunet.space.grid import Grid
from volunet.space.volume import Volume

GOLDEN = Path(__file__).parents[1] / "golden" / "nnunet.npz"


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    """What nnU-Net made of a case."""
    with np.load(GOLDEN) as kept:
        return {k.removeprefix(f"{name}_"): kept[k] for k in kept if k.startswith(f"{name}_")}


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a case's weights, each under all its names."""
    return {k: tuple(v) for k, v in json.loads(str(golden(name)["shapes"])).items()}


def state_of(name: str, fold: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a case's network by nnU-Net's names."""
    weights = CASES[name].weights(shapes_of(name), fold)
    return {key: torch.from_numpy(value) for key, value in weights.items()}


def checkpoint_of(name: str, fold: int = 0, **changes: Any) -> dict[str, Any]:
    """What nnU-Net saves beside the weights, too."""
    case = CASES[name]
    return {
        "network_weights": state_of(name, fold),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": np.float64(0.01)}]},
        "grad_scaler_state": None,
        "logging": {"ema_fg_dice": [np.float32(0.5), np.float64(0.6)]},
        "_best_ema": np.float64(0.6),
        "current_epoch": 2,
        "init_args": {
            "plans": case.plans,
            "configuration": case.configuration,
            "fold": fold,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": case.mirror,
        **changes,
    }


def write_folder(folder: Path, name: str, *, plans: Any = None, checkpoint: Any = None) -> Path:
    """A trained model's folder."""
    case: Case = CASES[name]
    for fold in range(case.folds):
        place = folder / f"fold_{fold}"
        place.mkdir(parents=True)
        torch.save(checkpoint or checkpoint_of(name, fold), place / "checkpoint_final.pth")
    for file, values in (("plans", plans or plans_of(case)), ("dataset", case.dataset)):
        (folder / f"{file}.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def scan_of(name: str) -> Volume:
    """The scan as volunet reads it from a file: axes (i, j, k), which the file has reversed."""
    case = CASES[name]
    voxels = np.ascontiguousarray(case.scan.transpose(0, 3, 2, 1))
    return Volume(voxels, Grid(voxels.shape[1:], np.diag([*case.spacing[::-1], 1.0])))
