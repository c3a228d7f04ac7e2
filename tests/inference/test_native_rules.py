"""The way back of imported models: copied slices, regions that overlap, background beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import resize

from tests.inference.test_native import cuts, dense, drawn_logits, grids, in_slabs
from volunet.errors import ShapeError
from volunet.inference.native import Slices, label_native
from volunet.inference.rule import LAST_POSITIVE
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.spline import nearest_rows

axes = st.integers(0, 2)
turns = st.permutations([0, 1, 2])


def arranged(grid: Grid, order: list[int]) -> Grid:
    """The same voxels with their axes in another order."""
    return Grid(tuple(grid.shape[a] for a in order), grid.affine[:, [*order, 3]])


@given(grids, grids, axes, turns, cuts, st.integers(0, 999), st.booleans())
def test_thick_slices_are_copied_and_the_rest_is_blended(
    shape, native_shape, axis, order, cut, seed, smooth
):
    plan_grid = Grid(shape, np.diag([1.0, 0.8, 2.5, 1.0]))
    scan_grid = arranged(plan_grid.with_shape(native_shape), order)
    logits = drawn_logits(shape, 3, seed, smooth)
    labels = label_native(
        in_slabs(logits, cut), plan_grid, scan_grid, slices=Slices(axis, shape[axis])
    )
    copied = np.take(logits, nearest_rows(shape[axis], native_shape[axis]), axis + 1)
    scores = np.stack(
        [resize(c, native_shape, 1, mode="edge", anti_aliasing=False) for c in copied]
    )
    scores = scores.transpose(0, *(1 + a for a in order))
    chosen = np.take_along_axis(scores, labels[None].astype(int), 0)[0]
    assert (chosen >= scores.max(0) - 1e-5).all()


@given(grids, grids, axes, st.data())
def test_a_part_of_thick_slices_is_labelled_as_it_is_in_the_whole(shape, native_shape, axis, data):
    plan_grid = Grid(shape, np.diag([1.0, 0.8, 2.5, 1.0]))
    scan_grid = plan_grid.with_shape(native_shape)
    logits = drawn_logits(shape, 3, 0, False)
    whole = Slices(axis, shape[axis])
    expected = label_native(in_slabs(logits, []), plan_grid, scan_grid, slices=whole)
    start = data.draw(st.integers(0, shape[axis] - 1))
    stop = data.draw(st.integers(start + 1, shape[axis]))
    low, high = [0, 0, 0], list(shape)
    low[axis], high[axis] = start, stop
    part = Box(tuple(low), tuple(high))
    reach = [(-np.inf, np.inf)] * 3
    reach[axis] = (-0.5, stop - start - 0.5)
    labels = label_native(
        in_slabs(logits[(slice(None), *part.index)], []),
        plan_grid.crop(part),
        scan_grid,
        reach=tuple(reach),
        slices=Slices(axis, shape[axis], start),
    )
    rows = nearest_rows(shape[axis], native_shape[axis])
    kept = np.flatnonzero((rows >= start) & (rows < stop))
    np.testing.assert_array_equal(np.take(labels, kept, axis), np.take(expected, kept, axis))


@given(grids, grids, cuts, st.integers(1, 4), st.integers(0, 999), st.booleans())
def test_of_regions_above_zero_the_last_one_wins(shape, native_shape, cut, heads, seed, smooth):
    plan_grid = Grid(shape, np.eye(4))
    scan_grid = plan_grid.with_shape(native_shape)
    logits = drawn_logits(shape, heads, seed, smooth)
    labels = label_native(in_slabs(logits, cut), plan_grid, scan_grid, rule=LAST_POSITIVE)
    scores = dense(logits, plan_grid, scan_grid)
    numbers = np.arange(1, heads + 1).reshape(-1, 1, 1, 1)
    expected = ((scores > 0) * numbers).max(axis=0)
    decided = (np.abs(scores) > 1e-5).all(axis=0)
    np.testing.assert_array_equal(labels[decided], expected[decided])


@given(grids, turns, st.integers(0, 999))
def test_voxels_out_of_reach_stay_background(shape, order, seed):
    whole = Grid(tuple(n + 3 for n in shape), np.diag([1.0, 0.8, 2.5, 1.0]))
    box = Box((1, 2, 0), tuple(n + a for n, a in zip(shape, (1, 2, 0), strict=True)))
    plan_grid = whole.crop(box).with_shape(tuple(2 * n for n in shape))
    logits = drawn_logits(plan_grid.shape, 2, seed, smooth=False)
    logits[0] -= 100
    reach = tuple((-0.5, n - 0.5) for n in plan_grid.shape)
    scan_grid = arranged(whole, order)
    labels = label_native(in_slabs(logits, [2]), plan_grid, scan_grid, reach=reach)
    expected = np.zeros(whole.shape, dtype=int)
    expected[box.index] = 1
    np.testing.assert_array_equal(labels, expected.transpose(order))


def test_slices_cannot_be_copied_to_a_tilted_scan():
    turn = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    logits = drawn_logits((3, 3, 3), 2, 0, smooth=False)
    with pytest.raises(ShapeError, match="tilted"):
        label_native(
            in_slabs(logits, []),
            Grid((3, 3, 3), np.eye(4)),
            Grid((3, 3, 3), turn),
            slices=Slices(0, 3),
        )
