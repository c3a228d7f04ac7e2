"""Windows cover the image in order, and weigh voxels so that all of them together weigh 1."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.drawing import tilings
from volunet.errors import ShapeError
from volunet.inference.windows import Tiling, axis_weights, look


@given(tilings())
def test_windows_cover_every_voxel_stay_inside_and_come_in_order(drawn):
    shape, patch, overlap = drawn
    seen = torch.zeros(shape, dtype=int)
    windows = Tiling.regular(shape, patch, overlap).boxes()
    for window in windows:
        assert window.shape == patch
        assert min(window.start) >= 0
        assert all(b <= n for b, n in zip(window.stop, shape, strict=True))
        seen[window.index] += 1
    assert seen.min() >= 1
    assert [w.start[0] for w in windows] == sorted(w.start[0] for w in windows)


@given(tilings(dims=1))
def test_neighbours_share_at_least_the_overlap_and_no_window_is_one_too_many(drawn):
    (length,), (patch,), overlap = drawn
    (starts,) = Tiling.regular((length,), (patch,), overlap).starts
    stride = max(1, int(patch * (1 - overlap)))
    gaps = [b - a for a, b in pairwise(starts)]
    assert all(gap <= stride for gap in gaps)
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    assert (len(starts) - 2) * stride < length - patch or len(starts) == 1


@given(tilings())
def test_the_weights_of_all_windows_add_up_to_1_at_every_voxel(drawn):
    shape, patch, overlap = drawn
    tiling, mass = Tiling.regular(shape, patch, overlap), torch.zeros(shape)
    for box in tiling.boxes():
        weights = tiling.weights(box)
        assert weights.min() > 0
        mass[box.index] += weights
    torch.testing.assert_close(mass, torch.ones(shape), rtol=0, atol=1e-5)


@given(tilings())
def test_weights_are_a_gaussian_divided_by_the_sum_of_all_gaussians(drawn):
    shape, patch, overlap = drawn
    tiling = Tiling.regular(shape, patch, overlap)
    at = torch.stack(torch.meshgrid(*map(torch.arange, patch), indexing="ij"))
    centre, sigma = (torch.tensor(patch).view(-1, *[1] * len(patch)) * f for f in (0.5, 0.125))
    bell = torch.exp(-(((at - centre + 0.5) / sigma) ** 2).sum(0).double() / 2)
    mass = torch.zeros(shape, dtype=torch.float64)
    for box in tiling.boxes():
        mass[box.index] += bell
    for box in tiling.boxes():
        wanted = (bell / mass[box.index]).float()
        torch.testing.assert_close(tiling.weights(box), wanted, rtol=1e-4, atol=1e-12)


def test_weights_of_a_side_are_a_bell():
    sides = axis_weights(8)
    assert torch.equal(sides, sides.flip(0))
    assert sides.argmax() in (3, 4)
    torch.testing.assert_close(sides[4], torch.tensor(-(0.5**2) / 2).exp())


def test_a_patch_that_does_not_fit_says_what_to_do():
    with pytest.raises(ShapeError, match=r"pad the image to \(16, 10, 10\)"):
        Tiling.regular((10, 10, 10), (16, 8, 8))
    with pytest.raises(ShapeError, match="overlap must be in"):
        Tiling.regular((8,), (4,), 1.0)


def test_the_engine_is_asked_only_for_what_is_used():
    asked = []

    def engine(windows):
        asked.append(len(windows))
        return windows

    boxes = Tiling.regular((9, 4, 4), (4, 4, 4)).boxes()
    tiles = look([engine], torch.zeros(1, 9, 4, 4), boxes, batch=2)
    assert not asked
    next(tiles)
    assert asked == [2]
    assert len(list(tiles)) == 3
    assert asked == [2, 2]


@given(st.sampled_from([((),), ((), (0,), (1,), (0, 1))]), st.integers(1, 3))
def test_mirrored_answers_are_flipped_back_and_folds_averaged(mirrors, folds):
    """Each fold answers the window times its own ramp, so a wrong flip or share would show."""
    image, ramp = torch.rand(1, 6, 4), torch.arange(16.0).reshape(4, 4)
    engines = [lambda x, f=f: x * ramp * f for f in range(1, folds + 1)]
    turned = sum(ramp.flip(m) if m else ramp for m in mirrors) / len(mirrors)
    share = sum(range(1, folds + 1)) / folds
    boxes = Tiling.regular((6, 4), (4, 4)).boxes()
    for box, tile in look(engines, image, boxes, mirrors=mirrors):
        torch.testing.assert_close(tile, image[box.index] * turned * share)


def test_an_engine_that_reuses_its_answer_is_not_taken_in():
    buffer = torch.empty(1, 1, 4)

    def engine(windows):
        return buffer.copy_(windows * torch.arange(4.0))

    image = torch.ones(1, 4)
    ((_, tile),) = look([engine], image, Tiling.regular((4,), (4,)).boxes(), mirrors=((), (0,)))
    assert tile.tolist() == [[1.5] * 4]
    assert prod(tile.shape) == 4
