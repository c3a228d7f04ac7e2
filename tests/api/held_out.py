"""A run's folder with a model of balls and held-out cases on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from tests.training.tiny import PLAN
from volunet.data.cases import Case
from volunet.packaging.model_file import Training, save_model
from volunet.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint


def noise_weights() -> Mapping[str, Tensor]:
    """Weights that were never trained."""
    torch.manual_seed(0)
    return PLAN.build_network().state_dict()


def bright_weights() -> Mapping[str, Tensor]:
    """Weights by which the network calls bright what is well above the mean of a window."""
    weights = {name: torch.zeros_like(w) for name, w in noise_weights().items()}
    for block in ("encoder.0.0", "encoder.0.1", "decoder.0.block.0", "decoder.0.block.1"):
        weights[f"{block}.conv.weight"][0, 0, 1, 1, 1] = 1.0
        weights[f"{block}.norm.weight"][0] = 1.0
    weights["head.weight"][1, 0] = 1.0
    weights["head.bias"][1] = -0.5
    return weights


def write_run(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """A run's folder with a model and no validation yet."""
    seen = tuple(float(q) for q in np.linspace(-1, 2, 19))
    channel = ChannelFacts(image=seen, foreground=seen, count=9, mean=1.0, sd=0.3)
    facts = CaseFacts(
        shape=(28, 28, 28), spacing=(1, 1, 1), channels=(channel,), volumes_ml={"ball": 0.9}
    )
    save_model(
        folder / "model",
        weights,
        name="balls",
        plan=PLAN,
        fingerprint=Fingerprint(cases={"a": facts}),
        training=Training(cases=1, steps=1, seconds=1.0, seed=0, validation_dice={"ball": 0.8}),
    )
    (folder / "validation").mkdir()


def write_case(folder: Path, number: int, *, noise: float = 0.3, stray: int = 0) -> Case:
    """A bright ball, 28 cubed, and as bright a cube of side `stray` that is no part of it."""
    rng = np.random.default_rng(number)
    centre = rng.uniform(12, 18, 3)[:, None, None, None]
    truth = (np.square(np.indices((28, 28, 28)) - centre).sum(axis=0) < 36).astype(np.uint8)
    image = truth + rng.normal(0, noise, truth.shape)
    image[1 : 1 + stray, 1 : 1 + stray, 1 : 1 + stray] = 1
    paths = [folder / f"{name}_{number}.nii.gz" for name in ("image", "label")]
    nib.save(nib.Nifti1Image(image.astype("f4"), np.eye(4)), paths[0])
    nib.save(nib.Nifti1Image(truth, np.eye(4)), paths[1])
    return Case(case_id=f"case_{number}", images=(paths[0],), label=paths[1])
