"""Blending gives back what was cut, in a stream as all at once, and MONAI agrees."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from monai.inferers import SlidingWindowInferer, sliding_window_inference
from torch import Tensor

from tests.inference.drawing import tilings
from volunet.errors import ShapeError
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.stitch import stitch_slabs
from volunet.inference.windows import gaussian, look, plan_windows
from volunet.models.unet import UNet
from volunet.space.box import Box


def dense(tiles, shape, weights) -> Tensor:
    """The same blend with the whole map in memory."""
    total, mass = 0, torch.zeros(shape)
    for box, tile in tiles:
        whole = torch.zeros((len(tile), *shape)) if isinstance(total, int) else total
        whole[box.index] += tile.float() * weights
        mass[box.index] += weights
        total = whole
    return total / mass


def joined(slabs, shape) -> Tensor:
    """All slabs as one map, after a look at whether they follow one another."""
    slabs = list(slabs)
    assert slabs[0][0].start[0] == 0
    assert slabs[-1][0].stop[0] == shape[0]
    for (before, _), (after, _) in pairwise(slabs):
        assert before.stop[0] == after.start[0]
    for box, slab in slabs:
        assert box.shape == slab.shape[1:]
        assert box.stop[1:] == shape[1:]
    return torch.cat([slab for _, slab in slabs], dim=1)


@given(tilings())
def test_a_network_that_changes_nothing_gives_the_image_back(tiling):
    shape, patch, overlap = tiling
    image = torch.arange(2.0 * prod(shape)).reshape(2, *shape)
    tiles = look(lambda x: x, image, plan_windows(shape, patch, overlap), batch=3)
    blended = joined(stitch_slabs(tiles, shape, gaussian(patch)), shape)
    torch.testing.assert_close(blended, image, rtol=1e-5, atol=1e-5)


@given(tilings())
def test_the_stream_is_the_whole_map_bit_for_bit(tiling):
    shape, patch, overlap = tiling
    windows = plan_windows(shape, patch, overlap)
    noise = torch.Generator().manual_seed(prod(shape))
    tiles = [(w, torch.randn(3, *patch, generator=noise)) for w in windows]
    streamed = joined(stitch_slabs(iter(tiles), shape, gaussian(patch)), shape)
    assert torch.equal(streamed, dense(tiles, shape, gaussian(patch)))


def test_a_slab_is_given_away_as_soon_as_no_window_touches_it():
    windows = plan_windows((12, 4, 4), (4, 4, 4))
    used = []

    def tiles():
        for window in windows:
            used.append(window.start[0])
            yield window, torch.ones(2, 4, 4, 4)

    for box, _ in stitch_slabs(tiles(), (12, 4, 4), gaussian((4, 4, 4))):
        assert used[-1] == box.stop[0] or box.stop[0] == 12


def test_flat_images_are_stitched_too():
    image = torch.rand(1, 9, 7)
    tiles = look(lambda x: x, image, plan_windows((9, 7), (4, 4)))
    blended = joined(stitch_slabs(tiles, (9, 7), gaussian((4, 4))), (9, 7))
    torch.testing.assert_close(blended, image)


def test_agrees_with_monai_where_both_cut_the_same_windows():
    torch.manual_seed(0)
    image, patch = torch.randn(1, 24, 32, 16), (16, 16, 16)
    network = UNet(3, 1, 3, features=(4, 8, 16), strides=(2, 2)).eval()
    engine = TorchEngine(network, device="cpu")
    tiles = look(engine, image, plan_windows(image.shape[1:], patch), batch=2)
    ours = joined(stitch_slabs(tiles, image.shape[1:], gaussian(patch)), image.shape[1:])
    with torch.inference_mode():
        monai = sliding_window_inference(image[None], patch, 1, network, 0.5, mode="gaussian")[0]
    torch.testing.assert_close(ours, monai, rtol=1e-5, atol=1e-5)


def test_our_network_runs_under_monais_inferer():
    network = UNet(3, 1, 2, features=(4, 8), strides=(2,), attention=True).eval()
    inferer = SlidingWindowInferer((8, 8, 8), sw_batch_size=2, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        assert inferer(torch.rand(1, 1, 13, 10, 8), network).shape == (1, 2, 13, 10, 8)


ONES = torch.ones(1, 2, 2, 2)


@pytest.mark.parametrize(
    ("starts", "complaint"),
    [
        ([], "no tiles"),
        ([(0, 0, 0)], "uncovered"),
        ([(0, 0, 0), (2, 0, 0)], "uncovered"),
        ([(1, 0, 0), (2, 0, 0)], "rows 0 to 1 uncovered"),
        ([(0, 0, 0), (0, 0, 1), (2, 0, 0)], "rows 2 to 4 uncovered"),
        ([(0, 0, 0), (0, 0, 1), (2, 0, 0), (1, 0, 0)], "in order along the first axis"),
        ([(3, 0, 0)], "reaches outside"),
    ],
)
def test_tiles_that_do_not_cover_the_map_in_order_are_refused(starts, complaint):
    boxes = [Box(s, tuple(a + 2 for a in s)) for s in starts]
    with pytest.raises(ShapeError, match=complaint):
        list(stitch_slabs([(b, ONES) for b in boxes], (4, 2, 3), gaussian((2, 2, 2))))


def test_a_tile_of_another_size_than_its_window_is_refused():
    with pytest.raises(ShapeError, match="must be one size"):
        list(stitch_slabs([(Box.whole((2, 2, 4)), ONES)], (2, 2, 4), gaussian((2, 2, 2))))
