"""A grid says where voxels lie; turning, cutting and respacing it moves no voxel by itself."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from tests.strategies import ORIENTATIONS, grids, orientations, tilted
from volunet.errors import GeometryError
from volunet.space.box import Box
from volunet.space.grid import Grid


def centre(grid: Grid) -> np.ndarray:
    return grid.to_world((np.array(grid.shape) - 1) / 2)


@given(grids(), st.tuples(*[st.floats(-10, 10)] * 3))
def test_an_index_goes_to_the_patient_and_back(grid, index):
    np.testing.assert_allclose(grid.to_index(grid.to_world(index)), index, atol=1e-6)


@given(grids())
def test_spacing_and_orientation_agree_with_nibabel(grid):
    image = nib.Nifti1Image(np.zeros(grid.shape, dtype="u1"), grid.affine)
    np.testing.assert_allclose(grid.spacing, nib.affines.voxel_sizes(image.affine))
    assert grid.orientation == "".join(nib.aff2axcodes(image.affine))
    assert grid.voxel_ml == pytest.approx(np.prod(grid.spacing) / 1000)


@given(grids(), orientations)
def test_turning_agrees_with_nibabel_and_back_is_where_it_was(grid, orientation):
    image = nib.Nifti1Image(np.zeros(grid.shape, dtype="u1"), grid.affine)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(orientation)))
    turned = grid.reoriented(orientation)
    expected = image.as_reoriented(turn)
    assert turned.shape == expected.shape
    np.testing.assert_allclose(turned.affine, expected.affine, atol=1e-9)
    assert turned.reoriented(grid.orientation).matches(grid)


def test_all_48_orientations_are_told_apart():
    grid = Grid((3, 4, 5), np.eye(4))
    assert len(ORIENTATIONS) == 48
    assert {grid.reoriented(o).orientation for o in ORIENTATIONS} == set(ORIENTATIONS)


@given(grids(), st.tuples(*[st.floats(0.01, 10)] * 3))
def test_respacing_keeps_the_centre_and_moves_edges_by_a_quarter_voxel_at_most(grid, spacing):
    after = grid.respaced(spacing)
    np.testing.assert_allclose(centre(after), centre(grid), atol=1e-6)
    np.testing.assert_allclose(after.spacing, spacing)
    for before_mm, after_mm, n, mm in zip(
        grid.extent_mm, after.extent_mm, after.shape, spacing, strict=True
    ):
        assert n == 1 or abs(after_mm - before_mm) / 2 <= 0.25 * mm * (1 + 1e-9)


@given(grids(), st.data())
def test_a_cropped_grid_keeps_its_voxels_in_place(grid, data):
    start = tuple(data.draw(st.integers(-5, n - 1)) for n in grid.shape)
    cropped = grid.crop(Box(start, tuple(n + 2 for n in grid.shape)))
    np.testing.assert_allclose(cropped.to_world((0, 0, 0)), grid.to_world(start))
    assert cropped.shape == tuple(n + 2 - s for n, s in zip(grid.shape, start, strict=True))


@given(grids(), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_grid_grows_evenly_to_be_at_least_some_size(grid, least):
    grown = grid.at_least(least)
    assert grown.shape == tuple(max(n, m) for n, m in zip(grid.shape, least, strict=True))
    moved = grid.to_index(centre(grown)) - (np.array(grid.shape) - 1) / 2
    assert np.abs(moved).max() <= 0.5 + 1e-6
    inside = grown.to_index(grid.to_world(np.array([(0, 0, 0), np.array(grid.shape) - 1])))
    assert inside.min() >= -1e-6
    assert (inside <= np.array(grown.shape) - 1 + 1e-6).all()
    assert grid.at_least(grid.shape) is grid


def test_displacement_is_that_of_the_farthest_corner():
    grid = Grid((11, 2, 2), np.diag([2.0, 1.0, 1.0, 1.0]))
    stretched = Grid((11, 2, 2), np.diag([2.1, 1.0, 1.0, 1.0]))
    assert grid.displacement_mm(stretched) == pytest.approx(1.0)
    assert grid.displacement_vox(stretched) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_grids_match_to_a_thousandth_of_a_voxel_at_any_scale(scale):
    grid = Grid((5, 5, 5), np.diag([scale, scale, scale, 1.0]))
    moved = [np.array(grid.affine) for _ in range(2)]
    moved[0][0, 3], moved[1][0, 3] = 0.0009 * scale, 0.0011 * scale
    assert grid.matches(Grid(grid.shape, moved[0]))
    assert not grid.matches(Grid(grid.shape, moved[1]))
    assert not grid.matches(Grid((5, 5, 6), grid.affine))


def test_the_affine_is_a_copy_that_nobody_changes():
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 0] = 7
    assert grid.spacing == (1, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 7


def test_a_grid_tells_what_it_is():
    affine = np.eye(4)
    affine[:3, :3] = tilted((0.0, 0.0, 10.0)) * (0.5, 0.5, 3.0)
    assert repr(Grid((10, 20, 30), affine)) == "Grid(10 x 20 x 30, 0.5 x 0.5 x 3 mm, RAS)"


@pytest.mark.parametrize(
    ("shape", "affine", "complaint"),
    [
        ((2, 2), np.eye(4), "three axes of at least one voxel"),
        ((2, 0, 2), np.eye(4), "three axes of at least one voxel"),
        ((2, 2, 2), np.eye(3), r"must be \(4, 4\), got \(3, 3\)"),
        ((2, 2, 2), np.diag([1.0, 1, 0, 1]), "does not span three axes"),
        ((2, 2, 2), np.diag([1.0, np.nan, 1, 1]), "no number"),
        ((2, 2, 2), np.diag([1.0, np.inf, 1, 1]), "no number"),
        (
            (2, 2, 2),
            [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]],
            "does not span three axes",
        ),
    ],
)
def test_what_is_no_grid_is_refused(shape, affine, complaint):
    with pytest.raises(GeometryError, match=complaint):
        Grid(shape, np.array(affine))


@pytest.mark.parametrize("spacing", [(0.0, 1, 1), (1, -1.0, 1), (1, 1, float("nan"))])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(GeometryError, match="above 0 mm"):
        Grid((2, 2, 2), np.eye(4)).respaced(spacing)


@given(grids(), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_grid_with_another_shape_has_the_same_edges(grid, shape):
    other = grid.with_shape(shape)
    assert other.shape == shape
    for ends in (np.zeros(3), np.ones(3)):
        own, others = (g.to_world(ends * g.shape - 0.5) for g in (grid, other))
        np.testing.assert_allclose(others, own, atol=1e-6 * np.abs(own).max() + 1e-6)
