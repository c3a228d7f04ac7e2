"""Slices go through networks for images, alone or with their neighbours as channels."""

import pytest
import torch

from volunet.models.slices import OfNeighbours, OfSlices
from volunet.models.unet import UNet


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_seen_as_an_image(axis):
    torch.manual_seed(0)
    net = UNet(2, 2, 3, features=(4, 8), strides=(2,)).eval()
    image = torch.randn(1, 2, 8, 12)
    volume = image.unsqueeze(2 + axis)
    answer = OfSlices(net, axis)(volume)
    assert answer.shape == (1, 3, *volume.shape[2:])
    assert torch.equal(answer.squeeze(2 + axis), net(image))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_become_channels_slice_by_slice(axis):
    volume = torch.randn(2, 2, 8, 8, 8).narrow(2 + axis, 0, 3)
    seen = OfNeighbours(torch.nn.Identity(), axis)(volume)
    assert seen.shape[1] == 6
    for place in range(3):
        alone = volume.select(2 + axis, place)
        assert torch.equal(seen[:, 2 * place : 2 * place + 2].squeeze(2 + axis), alone)
