"""A label map on another grid holds the label with the largest share of each voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from tests.strategies import grids, label_maps, orientations, straight_grids
from volunet.space.grid import Grid
from volunet.space.lookup import coordinates, index_map
from volunet.space.resample import resample_labels
from volunet.space.volume import Volume

targets = st.one_of(straight_grids(), grids(side=8, spacing=(0.5, 5.0)))


def shares(labels: Volume, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The values, and the linear share of each by scipy, (values, *grid.shape)."""
    where = coordinates(index_map(labels.grid, grid), 0, grid.shape)
    at = np.stack([np.broadcast_to(w, grid.shape) for w in where])
    values = np.unique(labels.voxels)
    masks = [(labels.voxels[0] == value).astype(float) for value in values]
    return values, np.stack([map_coordinates(m, at, order=1, mode="nearest") for m in masks])


@given(label_maps(), targets)
def test_every_voxel_has_a_label_with_the_largest_share_and_the_smallest_of_equals(labels, grid):
    seen = resample_labels(labels, grid)
    assert seen.voxels.dtype == labels.voxels.dtype
    values, share = shares(labels, grid)
    chosen = np.searchsorted(values, seen.voxels[0])
    np.testing.assert_array_equal(values[chosen], seen.voxels[0])
    own = np.take_along_axis(share, chosen[None], axis=0)[0]
    assert (own >= share.max(axis=0) - 1e-5).all()
    smaller = np.arange(len(values))[:, None, None, None] < chosen
    clearly = share > own + 1e-5
    equal = np.abs(share - own) < 1e-9
    assert not (smaller & (clearly | equal)).any()


@given(label_maps(), targets, st.sampled_from(["share", "nearest"]))
def test_labels_never_gain_values(labels, grid, method):
    seen = resample_labels(labels, grid, method=method).voxels
    assert set(np.unique(seen)) <= set(np.unique(labels.voxels))


@given(label_maps(), orientations)
def test_turning_there_and_back_changes_no_label(labels, orientation):
    turned = resample_labels(labels, labels.grid.reoriented(orientation))
    np.testing.assert_array_equal(turned.voxels, labels.reoriented(orientation).voxels)
    np.testing.assert_array_equal(resample_labels(turned, labels.grid).voxels, labels.voxels)


@given(label_maps(), targets)
def test_the_slab_does_not_matter(labels, grid):
    thin, thick = (resample_labels(labels, grid, slab=n).voxels for n in (1, 32))
    np.testing.assert_array_equal(thin, thick)


@given(label_maps(), orientations, st.tuples(*[st.floats(0.5, 3)] * 3))
def test_how_the_axes_run_does_not_matter(labels, orientation, spacing):
    grid = labels.grid.respaced(spacing)
    seen = resample_labels(labels, grid).voxels
    turned = resample_labels(labels.reoriented(orientation), grid).voxels
    values, share = shares(labels, grid)
    top = np.sort(share, axis=0)
    clear = np.ones(grid.shape, bool) if len(values) == 1 else top[-1] - top[-2] > 1e-5
    np.testing.assert_array_equal(seen[0][clear], turned[0][clear])


@settings(max_examples=20)
@given(label_maps(values=(0, 1, 2**31 + 1, 2**53 + 1)), targets)
def test_wide_values_are_kept_to_the_last_digit(labels, grid):
    for method in ("share", "nearest"):
        seen = resample_labels(labels, grid, method=method).voxels
        assert seen.dtype == np.int64
        assert set(np.unique(seen).tolist()) <= {0, 1, 2**31 + 1, 2**53 + 1}


@pytest.mark.parametrize(
    ("row", "shift", "expected"),
    [
        ([0, 0, 7, 7], 0.5, [0, 0, 7, 7]),  # halfway between 0 and 7 the smaller one wins
        ([7, 7, 0, 0], 0.5, [7, 0, 0, 0]),
        ([0, 0, 7, 7], 0.6, [0, 7, 7, 7]),
        ([5, 9, 5, 9], 0.25, [5, 9, 5, 9]),
        ([5, 9, 5, 9], 0.75, [9, 5, 9, 9]),  # beyond the last voxel lies the last voxel
        ([5, 9, 5, 9], -0.75, [5, 5, 9, 5]),
    ],
)
def test_a_row_of_labels_worked_out_by_hand(row, shift, expected):
    labels = Volume(np.array(row, dtype="u1").reshape(1, 4, 1, 1), Grid((4, 1, 1), np.eye(4)))
    affine = np.eye(4)
    affine[0, 3] = shift
    seen = resample_labels(labels, Grid((4, 1, 1), affine))
    assert seen.voxels.ravel().tolist() == expected


def test_three_labels_that_meet_go_to_the_one_with_the_most():
    corner = np.array([[1, 2], [3, 3]], dtype="u1")[None, :, :, None]
    labels = Volume(corner, Grid((2, 2, 1), np.eye(4)))
    affine = np.diag([1.0, 1, 1, 1])
    affine[:2, 3] = 0.45  # shares: 1 has 0.3025, 2 has 0.2475, 3 has 0.45
    seen = resample_labels(labels, Grid((1, 1, 1), affine))
    assert seen.voxels.item() == 3


@given(st.floats(0.05, 0.95), st.booleans())
def test_equal_shares_are_equal_however_they_are_rounded(share, swapped):
    one, other = (4, 1) if swapped else (1, 4)
    corners = np.array([[[one, one], [one, other]], [[one, other], [other, other]]], dtype="u1")
    labels = Volume(corners[None], Grid((2, 2, 2), np.eye(4)))
    between = np.eye(4)
    between[:3, 3] = (share, 1 - share, 0.5)  # both have a half
    assert resample_labels(labels, Grid((1, 1, 1), between)).voxels.item() == 1
