"""Masks do not depend on where the network runs: the CPU, and CUDA where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from volunet.inference.cover import classify, cover
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.native import label_native
from volunet.models.unet import UNet
from volunet.space.grid import Grid

PATCH = (16, 16, 16)
CUDA = pytest.param("cuda", marks=pytest.mark.gpu)


def engine(device: str) -> TorchEngine:
    torch.manual_seed(0)
    network = UNet(3, 1, 4, features=(4, 8), strides=(2,))
    return TorchEngine(network, device=device)


def drawn_image() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(1, 30, 26, 22)).astype(np.float32)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("mirror", [(), (0, 2)])
def test_classes_are_those_of_the_cpu(device, mirror):
    effort = Effort(mirror=mirror, batch=2)
    seen = classify((engine(device),), drawn_image(), PATCH, effort)
    expected = classify((engine("cpu"),), drawn_image(), PATCH, effort)
    assert np.unique(expected).size > 1
    assert (seen == expected).mean() > 0.999


@pytest.mark.parametrize("device", [CUDA])
def test_labels_on_another_grid_are_those_of_the_cpu(device):
    plan, native = Grid((30, 26, 22), np.eye(4)), Grid((50, 40, 20), np.diag((0.6, 0.65, 1.1, 1)))
    seen, expected = (
        label_native(cover((engine(where),), drawn_image(), PATCH, Effort()), plan, native)
        for where in (device, "cpu")
    )
    assert seen.shape == native.shape
    assert (seen == expected).mean() > 0.999


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_sums_of_two_bytes_change_next_to_no_class(device, dtype):
    seen = classify((engine(device),), drawn_image(), PATCH, Effort(accumulator=dtype))
    expected = classify((engine("cpu"),), drawn_image(), PATCH, Effort())
    assert (seen == expected).mean() > 0.98
