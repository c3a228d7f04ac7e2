"""Runs along the last axis say of a mask what its voxels say: parts, borders, neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from volunet.space import runs
from volunet.space.box import Box
from volunet.space.runs import Runs

shapes = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
masks = hnp.arrays(bool, shapes)
pairs = shapes.flatmap(lambda shape: st.tuples(*[hnp.arrays(bool, shape)] * 2))


def runs_of(mask: np.ndarray) -> Runs:
    return Runs.where(mask, lambda block: block)


def drawn(of: Runs, values: np.ndarray | int = 1) -> np.ndarray:
    """A map with each run's value where the run is, 0 elsewhere."""
    out = np.zeros(of.shape, dtype=np.int64)
    for number, value in enumerate(np.broadcast_to(values, len(of)).tolist()):
        of.pick(np.arange(len(of)) == number).write(value, out)
    return out


def test_places_have_a_gap_after_each_line_and_each_plane():
    mask = np.zeros((2, 2, 3), dtype=bool)
    mask[0, 0, 1:], mask[0, 1, 0], mask[1, 0] = True, True, True
    of = runs_of(mask)
    assert of.starts.tolist() == [1, 4, 12]
    assert of.stops.tolist() == [3, 5, 15]
    assert of.lengths.tolist() == [2, 1, 3]
    assert of.sizes.tolist() == [5, 1]
    assert of.parts.tolist() == [0, 1, 0]


@given(masks, st.integers(1, 40))
def test_the_runs_draw_the_mask_again_however_few_rows_are_seen_at_once(mask, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "BLOCK", block)
        of = runs_of(mask)
        seen = np.zeros(mask.shape, dtype=bool)
        of.write(True, seen)
    np.testing.assert_array_equal(seen, mask)
    assert of.voxels == mask.sum()


@given(masks)
def test_parts_are_those_of_the_voxels_largest_first(mask):
    of = runs_of(mask)
    found, count = ndimage.label(mask)
    order = np.argsort(-np.bincount(found.ravel(), minlength=count + 1)[1:], kind="stable")
    parts = np.concatenate(([0], 1 + np.argsort(order)))[found]
    np.testing.assert_array_equal(of.sizes, np.bincount(parts.ravel(), minlength=count + 1)[1:])
    np.testing.assert_array_equal(drawn(of, of.parts + 1), parts)


@given(masks)
def test_the_box_is_that_of_the_voxels(mask):
    assert runs_of(mask).box == Box.around(mask)


@given(masks)
def test_what_is_outside_are_all_other_voxels(mask):
    outside = runs_of(mask).outside()
    np.testing.assert_array_equal(drawn(outside) == 1, ~mask)
    assert outside.starts.tolist() == runs_of(~mask).starts.tolist()


@given(pairs)
def test_shared_voxels_are_counted_in_each_run(pair):
    one, other = map(runs_of, pair)
    shared = one.shared(other)
    assert shared.sum() == np.count_nonzero(pair[0] & pair[1])
    again = drawn(one, np.arange(1, len(one) + 1))
    counted = np.bincount(again[pair[1]], minlength=len(one) + 1)[1:]
    np.testing.assert_array_equal(shared, counted)


@given(pairs)
def test_a_run_touches_where_a_voxel_of_it_has_a_neighbour(pair):
    mask, other = pair[0] & ~pair[1], pair[1]
    one = runs_of(mask)
    beside = ndimage.binary_dilation(other) & mask
    numbered = drawn(one, np.arange(1, len(one) + 1))
    expected = np.isin(np.arange(1, len(one) + 1), numbered[beside])
    np.testing.assert_array_equal(one.touching(runs_of(other)), expected)


@given(masks)
def test_a_run_is_at_the_border_where_a_voxel_of_it_is(mask):
    of = runs_of(mask)
    inner = np.zeros(mask.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    numbered = drawn(of, np.arange(1, len(of) + 1))
    expected = np.isin(np.arange(1, len(of) + 1), numbered[~inner])
    np.testing.assert_array_equal(of.at_border(), expected)


@given(pairs)
def test_joined_runs_are_those_of_both_masks(pair):
    one, other = runs_of(pair[0] & ~pair[1]), runs_of(pair[1])
    np.testing.assert_array_equal(drawn(one.joined(other)) == 1, pair[0] | pair[1])
