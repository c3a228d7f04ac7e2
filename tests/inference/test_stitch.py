"""Blending gives back what was cut, in a stream as all at once, and MONAI agrees."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.inferers import SlidingWindowInferer, sliding_window_inference
from torch import Tensor

from tests.inference.drawing import tilings
from volunet.errors import ShapeError
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.stitch import stitch_slabs
from volunet.inference.windows import Tiling, axis_weights, look
from volunet.models.unet import UNet
from volunet.space.box import Box

accumulators = st.sampled_from([torch.float32, torch.float16])


def dense(tiles, tiling: Tiling, dtype=torch.float32) -> Tensor:
    """The same blend with the whole map in memory."""
    total = None
    for box, tile in tiles:
        if total is None:
            total = torch.zeros((len(tile), *tiling.shape), dtype=dtype)
        seen = total[box.index]
        total[box.index] = torch.addcmul(seen.float(), tile, tiling.weights(box)).to(dtype)
    return total


def joined(slabs, shape) -> Tensor:
    """All slabs as one map, after a look at whether they follow one another."""
    kept = [(box, slab.clone()) for box, slab in slabs]
    assert kept[0][0].start[0] == 0
    assert kept[-1][0].stop[0] == shape[0]
    for (before, _), (after, _) in pairwise(kept):
        assert before.stop[0] == after.start[0]
    for box, slab in kept:
        assert box.shape == slab.shape[1:]
        assert box.stop[1:] == shape[1:]
    return torch.cat([slab for _, slab in kept], dim=1)


def noise_for(tiling: Tiling, *, channels_last: bool = False):
    draw = torch.Generator().manual_seed(prod(tiling.shape))
    for box in tiling.boxes():
        if channels_last:
            yield box, torch.randn(*tiling.patch, 3, generator=draw).movedim(-1, 0)
        else:
            yield box, torch.randn(3, *tiling.patch, generator=draw)


@given(tilings())
def test_a_network_that_changes_nothing_gives_the_image_back(drawn):
    shape, tiling = drawn[0], Tiling.regular(*drawn)
    image = torch.arange(2.0 * prod(shape)).reshape(2, *shape)
    tiles = look([lambda x: x], image, tiling.boxes(), batch=3)
    blended = joined(stitch_slabs(tiles, tiling), shape)
    torch.testing.assert_close(blended, image, rtol=1e-5, atol=1e-5)


@given(tilings(), accumulators, st.booleans())
def test_the_stream_is_the_whole_map_bit_for_bit(drawn, dtype, channels_last):
    tiling = Tiling.regular(*drawn)
    streamed = joined(
        stitch_slabs(noise_for(tiling, channels_last=channels_last), tiling, dtype=dtype),
        tiling.shape,
    )
    whole = dense(noise_for(tiling, channels_last=channels_last), tiling, dtype)
    assert torch.equal(streamed, whole)


@given(tilings(), st.data())
def test_a_region_is_that_part_of_the_whole_map(drawn, data):
    tiling = Tiling.regular(*drawn)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in tiling.shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, tiling.shape, strict=True))
    region = Box(start, stop)
    slabs = [
        (box, slab.clone()) for box, slab in stitch_slabs(noise_for(tiling), tiling, region=region)
    ]
    assert slabs[0][0].start == start
    assert slabs[-1][0].stop == stop
    streamed = torch.cat([slab for _, slab in slabs], dim=1)
    assert torch.equal(streamed, dense(noise_for(tiling), tiling)[region.index])


@given(tilings(), st.data())
def test_left_out_windows_leave_the_order_of_the_classes_to_the_others(drawn, data):
    tiling = Tiling.regular(*drawn)
    tiles = list(noise_for(tiling))
    kept = sorted(data.draw(st.sets(st.integers(0, len(tiles) - 1), min_size=1)))
    some = [tiles[i] for i in kept]
    streamed = joined(stitch_slabs(some, tiling), tiling.shape)
    assert torch.equal(streamed, dense(some, tiling))
    bare = torch.ones(tiling.shape, dtype=torch.bool)
    for box, _ in some:
        bare[box.index] = False
    assert not streamed[:, bare].any()


@given(tilings(), st.integers(0, 99))
def test_half_precision_sums_stay_within_their_rounding(drawn, seed):
    tiling = Tiling.regular(*drawn)
    exact = joined(stitch_slabs(noise_for(tiling), tiling), tiling.shape)
    half = joined(stitch_slabs(noise_for(tiling), tiling, dtype=torch.float16), tiling.shape)
    most = max(tile.abs().max() for _, tile in noise_for(tiling))
    touching = max(
        sum(s <= at < s + p for s in starts)
        for starts, p, n in zip(tiling.starts, tiling.patch, tiling.shape, strict=True)
        for at in range(n)
    )
    assert (half.float() - exact).abs().max() <= 2**-11 * most * touching**3 + 1e-6


def test_a_slab_is_given_away_as_soon_as_no_window_touches_it():
    tiling = Tiling.regular((12, 4, 4), (4, 4, 4))
    used = []

    def tiles():
        for window in tiling.boxes():
            used.append(window.start[0])
            yield window, torch.ones(2, 4, 4, 4)

    for box, slab in stitch_slabs(tiles(), tiling):
        assert used[-1] == box.stop[0] or used[-1] == 8
        torch.testing.assert_close(slab, torch.ones_like(slab))


def test_flat_images_are_stitched_too():
    image, tiling = torch.rand(1, 9, 7), Tiling.regular((9, 7), (4, 4))
    tiles = look([lambda x: x], image, tiling.boxes())
    torch.testing.assert_close(joined(stitch_slabs(tiles, tiling), (9, 7)), image)


def test_agrees_with_monai_where_both_cut_and_weigh_windows_alike():
    torch.manual_seed(0)
    image, patch = torch.randn(1, 24, 32, 16), (16, 16, 16)
    network = UNet(3, 1, 3, features=(4, 8, 16), strides=(2, 2)).eval()
    tiling = Tiling.regular(image.shape[1:], patch)
    tiles = look([TorchEngine(network, device="cpu")], image, tiling.boxes(), batch=2)
    ours = joined(stitch_slabs(tiles, tiling), image.shape[1:])
    bell = reduce(lambda grown, side: grown[..., None] * side, map(axis_weights, patch))
    with torch.inference_mode():
        monai = sliding_window_inference(image[None], patch, 1, network, 0.5, roi_weight_map=bell)
    torch.testing.assert_close(ours, monai[0], rtol=1e-5, atol=1e-5)


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
        ([(0, 0, 0), (2, 0, 0), (0, 0, 1)], "in order along the first axis"),
        ([(1, 0, 0)], "none of a tiling"),
        ([(3, 0, 0)], "none of a tiling"),
    ],
)
def test_tiles_that_are_out_of_order_or_not_of_the_tiling_are_refused(starts, complaint):
    boxes = [Box(s, tuple(a + 2 for a in s)) for s in starts]
    tiling = Tiling((4, 2, 3), (2, 2, 2), ((0, 2), (0,), (0, 1)))
    with pytest.raises(ShapeError, match=complaint):
        list(stitch_slabs([(b, ONES) for b in boxes], tiling))


def test_a_tile_of_another_size_than_its_window_is_refused():
    tiling = Tiling.regular((2, 2, 4), (2, 2, 2))
    with pytest.raises(ShapeError, match="must be one size"):
        list(stitch_slabs([(Box.whole((2, 2, 4)), ONES)], tiling))
