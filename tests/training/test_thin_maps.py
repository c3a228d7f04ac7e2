"""Gradients in bfloat16 are those in float32 but for rounding, however thin a map is."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from volunet.models.unet import UNet
from volunet.training.thin_maps import keep_thin_maps_exact


def gradients(network: nn.Module, image: torch.Tensor, dtype: torch.dtype) -> list[torch.Tensor]:
    """Of a sum over its answer, after memory was filled with what is no number."""
    spoilt = [torch.full((1 << n,), float("nan")) for n in range(4, 18)]
    del spoilt
    network.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        answer = network(image)
    answer.float().square().mean().backward()
    return [weight.grad.clone() for weight in network.parameters()]


@pytest.mark.parametrize("size", [(2, 2, 2), (2, 6, 5), (3, 2, 2), (1, 4, 4), (5, 5, 5)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_learns_from_thin_maps_what_it_learns_in_float32(size, stride):
    if stride == 2 and min(size) == 1:
        stride = (1, 2, 2)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(16, 16, 3, stride, padding=1))
    network.to(memory_format=torch.channels_last_3d)
    image = torch.randn(2, 16, *size).contiguous(memory_format=torch.channels_last_3d)
    exact = gradients(network, image, torch.float32)
    keep_thin_maps_exact(network)
    for _ in range(3):
        for half, full in zip(gradients(network, image, torch.bfloat16), exact, strict=True):
            assert (half - full).norm() < 0.02 * full.norm()


def test_a_network_with_maps_of_two_rows_learns_the_same_twice():
    torch.manual_seed(0)
    network = UNet(3, 1, 2, features=(8, 16, 16), strides=(2, 2))
    keep_thin_maps_exact(network)
    image = torch.randn(2, 1, 8, 8, 8)
    first, second = (gradients(network, image, torch.bfloat16) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    copied = deepcopy(network)
    again = gradients(copied, image, torch.bfloat16)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_answers_keep_the_type_that_the_network_goes_on_in():
    layer = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1))
    keep_thin_maps_exact(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.zeros(1, 4, 2, 2, 2)).dtype == torch.bfloat16
    assert layer(torch.zeros(1, 4, 2, 2, 2)).dtype == torch.float32
