"""Windows cover the image in order, and weigh voxels as MONAI does."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map

from tests.inference.drawing import tilings
from volunet.errors import ShapeError
from volunet.inference.windows import axis_weights, gaussian, look, plan_windows


@given(tilings())
def test_windows_cover_every_voxel_stay_inside_and_come_in_order(tiling):
    shape, patch, overlap = tiling
    seen = torch.zeros(shape, dtype=int)
    windows = plan_windows(shape, patch, overlap)
    for window in windows:
        assert window.shape == patch
        assert min(window.start) >= 0
        assert all(b <= n for b, n in zip(window.stop, shape, strict=True))
        seen[window.index] += 1
    assert seen.min() >= 1
    assert [w.start[0] for w in windows] == sorted(w.start[0] for w in windows)


@given(tilings(dims=1))
def test_neighbours_share_at_least_the_overlap_and_no_window_is_one_too_many(tiling):
    (length,), (patch,), overlap = tiling
    starts = [w.start[0] for w in plan_windows((length,), (patch,), overlap)]
    stride = max(1, int(patch * (1 - overlap)))
    gaps = [b - a for a, b in pairwise(starts)]
    assert all(gap <= stride for gap in gaps)
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    assert (len(starts) - 2) * stride < length - patch or len(starts) == 1


@given(st.lists(st.integers(1, 24), min_size=1, max_size=3).map(tuple))
def test_weights_are_those_of_monai(patch):
    wanted = compute_importance_map(patch, mode="gaussian")
    torch.testing.assert_close(gaussian(patch), wanted, rtol=1e-5, atol=1e-6)


def test_weights_of_a_side_are_a_bell():
    sides = axis_weights(8)
    assert torch.equal(sides, sides.flip(0))
    assert sides.argmax() in (3, 4)
    torch.testing.assert_close(sides[4], torch.tensor(-(0.5**2) / 2).exp())


def test_a_patch_that_does_not_fit_says_what_to_do():
    with pytest.raises(ShapeError, match=r"pad the image to \(16, 10, 10\)"):
        plan_windows((10, 10, 10), (16, 8, 8))
    with pytest.raises(ShapeError, match="overlap must be in"):
        plan_windows((8,), (4,), 1.0)


def test_the_engine_is_asked_only_for_what_is_used():
    asked = []

    def engine(windows):
        asked.append(len(windows))
        return windows

    tiles = look(engine, torch.zeros(1, 9, 4, 4), plan_windows((9, 4, 4), (4, 4, 4)), batch=2)
    assert not asked
    next(tiles)
    assert asked == [2]
    assert len(list(tiles)) == 3
    assert asked == [2, 2]
