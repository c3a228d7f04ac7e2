"""A target is read over its image's field of view, on its grid or on a finer one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.on_disk import (
    AFFINE,
    SHAPE,
    finer_grid,
    touch,
    write_image,
    write_label,
    write_nifti,
    write_target,
)
from tests.strategies import ORIENTATIONS, finer_factors, grids, orientations, straight_grids
from volunet.data.cases import Case
from volunet.data.read_target import finer_along_ras, place_target, read_target_case
from volunet.errors import DatasetError
from volunet.findings import Refused
from volunet.space.grid import Grid


def case_of(tmp_path, **how) -> Case:
    image = write_image(tmp_path / "image.nii.gz")
    return Case(
        case_id="a", images=(image,), target=write_target(tmp_path / "target.nii.gz", **how)
    )


def write_noise(path, grid: Grid):
    voxels = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    return write_nifti(path, voxels, grid.affine)


def read(case, *, channels=1, targets=1, **how):
    return read_target_case(case, channels=channels, targets=targets, **how)


def codes(refused):
    return [f.code for f in refused.value.findings]


@given(st.one_of(straight_grids(), grids(side=8, spacing=(0.5, 5.0))), orientations, finer_factors)
def test_a_target_lies_where_the_images_voxels_are_divided(grid, orientation, finer):
    image = grid.reoriented(orientation)
    along = [next(n for n, pair in enumerate(("RL", "AP", "SI")) if s in pair)
             for s in image.orientation]  # fmt: skip
    fine = image.with_shape(tuple(n * finer[a] for n, a in zip(image.shape, along, strict=True)))
    placed = place_target(image, fine)
    assert placed.matches(fine)
    assert finer_along_ras(image, placed) == finer


@given(straight_grids(), finer_factors, st.integers(0, 2), st.sampled_from([-1, 1]))
def test_a_target_that_is_shifted_by_half_a_voxel_lies_nowhere(grid, finer, axis, side):
    fine = grid.with_shape(tuple(n * by for n, by in zip(grid.shape, finer, strict=True)))
    affine = fine.affine.copy()
    affine[:3, 3] += 0.5 * side * affine[:3, axis]
    assert place_target(grid, Grid(fine.shape, affine)) is None


def test_a_target_on_the_same_grid_is_read_as_it_is(tmp_path):
    case = case_of(tmp_path)
    pair = read(case)
    assert (pair.finer, pair.top, pair.findings) == ((1, 1, 1), 0, ())
    assert pair.target.grid.matches(pair.image.grid)
    assert pair.target.voxels.shape == (1, *SHAPE)
    assert pair.target.voxels.dtype == np.float32


def test_a_target_that_is_off_by_the_rounding_of_its_file_takes_the_images_place(tmp_path):
    moved = AFFINE.copy()
    moved[:3, 3] += 0.05
    pair = read(case_of(tmp_path, affine=moved))
    assert pair.findings == ()
    assert pair.target.grid.matches(pair.image.grid, tolerance=1e-12)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::7])
def test_a_finer_target_is_told_along_the_patients_axes(tmp_path, orientation):
    grid, fine = (finer_grid(by).reoriented(orientation) for by in ((1, 1, 1), (3, 1, 2)))
    image = write_noise(tmp_path / "i.nii.gz", grid)
    target = write_noise(tmp_path / "t.nii.gz", fine)
    pair = read(Case(case_id="a", images=(image,), target=target))
    assert pair.finer == (3, 1, 2)
    assert pair.target.grid.matches(fine)
    assert not [f for f in pair.findings if f.refuses]


def test_several_targets_are_channels_of_one_file(tmp_path):
    case = case_of(tmp_path, parts=2)
    assert read(case, targets=2).target.channels == 2
    with pytest.raises(Refused, match="has 2 channels, and 3 are needed") as e:
        read(case, targets=3)
    assert codes(e) == ["IMG-CHANNELS"]


def half_a_voxel_off() -> np.ndarray:
    moved = AFFINE.copy()
    moved[0, 3] += 0.5 * AFFINE[0, 0]
    return moved


def test_a_target_that_is_half_a_voxel_off_is_refused_unless_that_is_waived(tmp_path):
    case = case_of(tmp_path, affine=half_a_voxel_off())
    with pytest.raises(Refused) as e:
        read(case)
    (apart,) = e.value.findings
    assert (apart.code, apart.case, apart.file) == ("GEO-MISMATCH", "a", "target.nii.gz")
    pair = read(case, accept=["GEO-MISMATCH"])
    assert [(f.code, f.accepted) for f in pair.findings] == [("GEO-MISMATCH", True)]
    assert pair.target.grid.matches(pair.image.grid)
    assert pair.finer == (1, 1, 1)


def test_a_target_that_is_shifted_says_how_far(tmp_path):
    with pytest.raises(Refused, match="1 mm"):
        read(case_of(tmp_path, affine=half_a_voxel_off()))


@pytest.mark.parametrize("accept", [(), ("GEO-MISMATCH",)])
def test_a_finer_target_that_begins_at_the_images_first_voxel_is_refused_in_any_case(
    tmp_path, accept
):
    """The origin of a finer grid lies half a fine voxel further out, which is often forgotten."""
    halved = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    with pytest.raises(Refused) as e:
        read(case_of(tmp_path, finer=(2, 2, 2), affine=halved), accept=accept)
    assert codes(e) == ["GEO-MISMATCH"]
    assert "a half, a third" in str(e.value)


@pytest.mark.parametrize("shape", [(9, 5, 4), (3, 5, 4), (6, 5, 2)])
def test_a_target_with_a_part_of_a_voxel_or_coarser_ones_is_refused(tmp_path, shape):
    image = write_image(tmp_path / "i.nii.gz")
    grid = Grid(SHAPE, AFFINE).with_shape(shape)
    target = write_noise(tmp_path / "t.nii.gz", grid)
    with pytest.raises(Refused) as e:
        read(Case(case_id="a", images=(image,), target=target), accept=["GEO-MISMATCH"])
    assert [f.code for f in e.value.findings if f.refuses] == ["GEO-MISMATCH"]


def save_picture(path, shape, kind=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(kind)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_picture_twice_as_large_has_pixels_half_as_wide(tmp_path, times, kind, top):
    image = save_picture(tmp_path / "i.png", (10, 12))
    target = save_picture(tmp_path / "t.png", (10 * times, 12 * times), kind)
    pair = read(Case(case_id="a", images=(image,), target=target))
    assert (pair.finer, pair.top, pair.findings) == ((times, times, 1), top, ())
    assert pair.target.grid.extent_mm == pytest.approx(pair.image.grid.extent_mm)
    assert pair.target.grid.spacing == pytest.approx((1 / times, 1 / times, 1))


def test_a_picture_that_is_no_whole_number_of_times_as_large_is_refused(tmp_path):
    image, target = (save_picture(tmp_path / n, s) for n, s in
                     (("i.png", (10, 12)), ("t.png", (15, 18))))  # fmt: skip
    with pytest.raises(Refused) as e:
        read(Case(case_id="a", images=(image,), target=target))
    assert codes(e) == ["GEO-MISMATCH"]


def test_what_is_wrong_with_image_and_target_is_told_together(tmp_path):
    case = case_of(tmp_path)
    touch(case.images[0], b"")
    touch(case.target, b"<html>sign in</html>")
    with pytest.raises(Refused) as e:
        read(case)
    assert sorted(codes(e)) == ["IO-EMPTY", "IO-FORMAT"]


def test_a_target_without_a_number_in_it_is_refused(tmp_path):
    case = case_of(tmp_path)
    write_nifti(case.target, np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(Refused, match="No voxel is a number"):
        read(case)


def test_a_case_without_a_target_cannot_be_read(tmp_path):
    label = write_label(tmp_path / "l.nii.gz")
    case = Case(case_id="a", images=(write_image(tmp_path / "i.nii.gz"),), label=label)
    with pytest.raises(DatasetError, match="'a' has no target"):
        read(case)
