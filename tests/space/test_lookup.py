"""The map between two grids is free of rounding noise, and tells whether axes stay whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import grids, orientations, straight_grids, tilted
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.lookup import as_axes, coordinates, index_map


@given(st.one_of(grids(), straight_grids()), orientations)
def test_turned_grids_meet_voxel_on_voxel(grid, orientation):
    axes = as_axes(index_map(grid, grid.reoriented(orientation)))
    assert axes is not None
    assert axes.on_lattice


@given(grids(), st.data())
def test_a_crop_is_a_shift_by_whole_voxels(grid, data):
    start = tuple(data.draw(st.integers(-3, n - 1)) for n in grid.shape)
    axes = as_axes(index_map(grid, grid.crop(Box(start, grid.shape))))
    assert axes is not None
    assert (axes.order, axes.step, axes.start) == ((0, 1, 2), (1.0, 1.0, 1.0), start)


@given(grids(spacing=(0.5, 5.0)), grids(spacing=(0.5, 5.0)))
def test_the_map_is_that_of_the_affines(source, target):
    across = index_map(source, target)
    corner = np.array(target.shape) - 1.0
    expected = source.to_index(target.to_world(corner))
    np.testing.assert_allclose(across[:3, :3] @ corner + across[:3, 3], expected, atol=1e-4)


@given(straight_grids(), straight_grids())
def test_coordinates_axis_by_axis_are_those_of_the_whole_map(source, target):
    across = index_map(source, target)
    axes = as_axes(across)
    assert axes is not None
    rows = (target.shape[0] - 1, *target.shape[1:])
    if rows[0] == 0:
        return
    whole = [np.broadcast_to(w, rows) for w in coordinates(across, 1, rows)]
    for axis, first in enumerate((1, 0, 0)):
        along = np.moveaxis(whole[axes.order[axis]], axis, 0)
        line = axes.coordinates(axis, first, target.shape[axis])
        np.testing.assert_allclose(along, np.broadcast_to(line[:, None, None], along.shape))


def test_what_a_file_rounds_away_is_no_tilt():
    affine = np.eye(4)
    affine[:3, :3] = tilted() * (0.4882812, 0.4882812, 2.5)
    affine[:3, 3] = (-123.456789, 98.7654321, -1000.1)
    grid = Grid((512, 512, 200), affine)
    stored = Grid(grid.shape, affine.astype(np.float32).astype(np.float64))
    axes = as_axes(index_map(grid, stored))
    assert axes is not None
    assert axes.step == pytest.approx((1, 1, 1), abs=1e-6)


def test_a_tilt_of_a_tenth_of_a_degree_is_a_tilt():
    affine = np.eye(4)
    affine[:3, :3] = tilted((0.1, 0.0, 0.0))
    assert as_axes(index_map(Grid((5, 5, 5), np.eye(4)), Grid((5, 5, 5), affine))) is None


@pytest.mark.parametrize(
    ("step", "start"), [((1, 1, 2), (0, 0, 0)), ((1, 1, 1), (0, 0.5, 0)), ((1, 0.5, 1), (0, 0, 0))]
)
def test_voxels_between_voxels_are_not_on_the_lattice(step, start):
    affine = np.diag([*map(float, step), 1.0])
    affine[:3, 3] = start
    axes = as_axes(index_map(Grid((4, 4, 4), np.eye(4)), Grid((4, 4, 4), affine)))
    assert axes is not None
    assert not axes.on_lattice
