"""Where a scan lies: what a waiver means, and no alarm where files only round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.faults.corpus import (
    AFFINE,
    SHAPE,
    SPACING,
    Fault,
    gz,
    header_of,
    keep,
    raw_of,
    voxels_of,
)
from tests.faults.geometry import FAULTS, sheared
from tests.io.scans import AXES, affine_of, geometries, volume_of
from volunet.io.geometry import displacement, right_angled, shear_rad
from volunet.io.inquiry import Inquiry
from volunet.io.nifti_geometry import affine_of as affine_in
from volunet.io.read import Reading, check_pair, inspect
from volunet.space.grid import Grid

NAMED: dict[str, Fault] = {fault.name: fault for fault in FAULTS}


def accepted(name: str, folder: Path) -> Reading:
    fault = NAMED[name]
    return inspect(fault.build(folder), accept=(fault.code,))


@pytest.mark.parametrize(
    "name", ["pixdim 0", "pixdim negative", "pixdim NaN, with sform", "bad quaternion, good sform"]
)
def test_the_sform_is_taken_where_what_is_beside_it_is_waived(name: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(accepted(name, tmp_path).volume.grid.affine, AFFINE)


def test_waiving_two_forms_takes_the_sform(tmp_path: Path) -> None:
    grid = accepted("sform moved by 50 mm", tmp_path).volume.grid
    np.testing.assert_array_equal(grid.affine[:3, 3], AFFINE[:3, 3] + [50, 0, 0])


def test_waiving_pixdim_takes_the_spacing_of_the_sform(tmp_path: Path) -> None:
    assert accepted("pixdim 1, sform other", tmp_path).volume.grid.spacing == SPACING


def test_waiving_odd_units_takes_mm(tmp_path: Path) -> None:
    assert accepted("mm called metres", tmp_path).volume.grid.spacing == (1.0, 1.0, 3.0)


def test_metres_and_micrometres_become_mm(tmp_path: Path) -> None:
    for name, spacing in (("metres", (1.0, 1.0, 3.0)), ("micrometres", (0.5, 0.5, 3.0))):
        grid = inspect(NAMED[name].build(tmp_path)).volume.grid
        np.testing.assert_allclose(grid.spacing, spacing, rtol=1e-6)


@pytest.mark.parametrize("name", ["shear of 11 degrees", "shear with a good qform"])
def test_waiving_shear_takes_the_nearest_right_angles(name: str, tmp_path: Path) -> None:
    reading = accepted(name, tmp_path)
    assert shear_rad(reading.volume.grid.affine) < 1e-6
    np.testing.assert_allclose(reading.volume.grid.spacing, SPACING, rtol=1e-6)


def test_a_small_shear_is_turned_away_and_the_way_of_the_voxels_told(tmp_path: Path) -> None:
    reading = inspect(NAMED["shear of 0.11 degrees"].build(tmp_path))
    (found,) = reading.findings
    voxels, mm = displacement(sheared(0.002), reading.volume.grid.affine, SHAPE)
    assert shear_rad(reading.volume.grid.affine) < 1e-6
    assert found.numbers["mm"] == pytest.approx(mm, rel=1e-2)
    assert 0 < voxels < 0.02


def test_turning_to_right_angles_halves_the_angle_between_the_axes() -> None:
    """Worked by hand: two unit axes 80 degrees apart each turn by 5 degrees, about the centre."""
    lean = np.radians(10)
    affine = np.eye(4)
    affine[:2, 1] = np.sin(lean), np.cos(lean)
    turned = right_angled(affine, (3, 3, 3))
    half = lean / 2
    expected = [[np.cos(half), np.sin(half), 0], [-np.sin(half), np.cos(half), 0], [0, 0, 1]]
    np.testing.assert_allclose(turned[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(turned @ [1, 1, 1, 1], affine @ [1, 1, 1, 1], atol=1e-12)


def test_no_forms_means_what_nibabel_makes_of_it(tmp_path: Path) -> None:
    path = NAMED["no forms at all"].build(tmp_path)
    np.testing.assert_array_equal(inspect(path).volume.grid.affine, nibabel.load(path).affine)


@given(geometry=geometries, version=st.sampled_from([1, 2]), order=st.sampled_from("<>"))
def test_a_sound_scan_of_any_version_order_and_place_raises_no_alarm(
    tmp_path_factory: pytest.TempPathFactory, geometry: dict[str, Any], version: int, order: str
) -> None:
    affine = affine_of(**geometry)
    raw = raw_of(voxels_of(), version=version, order=order, affine=affine)
    path = keep(tmp_path_factory.getbasetemp(), "sound.nii.gz", gz(raw))
    reading = inspect(path)
    assert reading.findings == ()
    np.testing.assert_array_equal(reading.volume.grid.affine, affine)
    np.testing.assert_array_equal(reading.volume.voxels[0], voxels_of())


@given(geometry=geometries)
@example(geometry={"degrees": (0.05, 0.03, 0.1), "axes": AXES[1]})
@example(geometry={"degrees": (4.0, 1.0, 1.0), "axes": ((0, 2, 1), (-1, -1, 1))})
def test_a_large_scan_raises_no_alarm_for_the_rounding_of_its_quaternion(
    geometry: dict[str, Any],
) -> None:
    shape = (512, 512, 300)
    header = header_of(np.zeros((1, 1, 1), np.int16), affine=affine_of(**geometry))
    inquiry = Inquiry("large.nii.gz")
    affine_in(header, shape, inquiry)
    assert inquiry.settle() == ()


@given(geometry=geometries)
def test_a_scan_that_only_has_a_quaternion_lies_where_nibabel_puts_it(
    tmp_path_factory: pytest.TempPathFactory, geometry: dict[str, Any]
) -> None:
    def drop_sform(header: Any) -> None:
        header["sform_code"] = 0

    raw = raw_of(voxels_of(), drop_sform, affine=affine_of(**geometry))
    path = keep(tmp_path_factory.getbasetemp(), "qform.nii", raw)
    reading = inspect(path)
    assert reading.findings == ()
    expected = nibabel.load(path).affine
    np.testing.assert_allclose(reading.volume.grid.affine, expected, rtol=1e-6, atol=1e-6)


def test_grids_that_only_differ_by_rounding_make_a_pair() -> None:
    grid = volume_of().grid
    assert check_pair(grid, Grid(grid.shape, grid.affine + 1e-5)) == []


def test_a_mask_that_lies_elsewhere_is_told_in_mm() -> None:
    grid = volume_of().grid
    affine = grid.affine.copy()
    affine[:3, 3] += [3, 4, 0]
    (found,) = check_pair(grid, Grid(grid.shape, affine))
    assert (found.code, found.severity) == ("GEO-MISMATCH", "refuse")
    assert found.numbers["mm"] == pytest.approx(5.0)
    assert "5 mm" in found.message


def test_a_mask_that_is_flipped_is_told() -> None:
    grid = volume_of().grid
    (found,) = check_pair(grid, Grid(grid.shape, grid.affine @ np.diag([-1.0, 1, 1, 1])))
    assert found.code == "GEO-MISMATCH"


def test_a_mask_of_other_size_is_told_with_both_sizes() -> None:
    grid = volume_of().grid
    (found,) = check_pair(grid, Grid((5, 6, 8), grid.affine))
    assert found.code == "GEO-MISMATCH"
    assert "5 x 6 x 7" in found.message
    assert "5 x 6 x 8" in found.message
