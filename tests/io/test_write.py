"""What is written comes back unchanged, and other readers see the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from tests.io.scans import affine_of, geometries, volume_of
from volunet.errors import GeometryError, ShapeError, WriteError
from volunet.io.read import inspect, read_mask
from volunet.io.write import write
from volunet.space.grid import Grid
from volunet.space.volume import Volume

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
TYPES = {
    np.bool_: np.uint8,
    np.uint8: np.uint8,
    np.uint16: np.uint8,
    np.int16: np.int16,
    np.int64: np.int16,
    np.float32: np.float32,
    np.float64: np.float32,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("write")


def lps_affine(image: SimpleITK.Image) -> np.ndarray[Any, Any]:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", TYPES)
def test_what_is_written_is_read_again(folder: Path, ending: str, dtype: Any) -> None:
    volume = volume_of(dtype)
    reading = inspect(write(volume, folder / f"{np.dtype(dtype).name}{ending[-2:]}{ending}"))
    assert reading.findings == ()
    assert reading.volume.voxels.dtype == TYPES[dtype]
    np.testing.assert_array_equal(reading.volume.voxels, volume.voxels)
    if "nii" in ending:
        np.testing.assert_array_equal(reading.volume.grid.affine, volume.grid.affine)
    assert reading.volume.grid.matches(volume.grid, tolerance=1e-12)


@given(geometry=geometries, dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]))
def test_nibabel_and_simpleitk_agree_on_what_we_write(
    folder: Path, geometry: dict[str, Any], dtype: Any
) -> None:
    volume = volume_of(dtype, **geometry)
    path = write(volume, folder / "any.nii.gz")
    image = nibabel.load(path)
    np.testing.assert_array_equal(image.affine, volume.grid.affine)
    # Near half a turn a quaternion of float32 is good to a thousandth; readers prefer the sform.
    np.testing.assert_allclose(image.header.get_qform(), volume.grid.affine, atol=2e-2)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), volume.voxels[0])
    seen = SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(lps_affine(seen), volume.grid.affine, atol=1e-3)
    assert inspect(path).findings == ()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(seen).T, volume.voxels[0])


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@given(geometry=geometries, dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]))
def test_simpleitk_sees_what_we_write_in_its_formats(
    folder: Path, ending: str, geometry: dict[str, Any], dtype: Any
) -> None:
    volume = volume_of(dtype, **geometry)
    seen = SimpleITK.ReadImage(str(write(volume, folder / f"itk{ending}")))
    np.testing.assert_allclose(lps_affine(seen), volume.grid.affine, atol=1e-9)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(seen).T, volume.voxels[0])


@given(geometry=geometries)
def test_a_mask_carries_the_affine_of_its_scan_bit_for_bit(
    folder: Path, geometry: dict[str, Any]
) -> None:
    scan = nibabel.Nifti1Image(np.ones((5, 6, 7), np.int16), affine_of(**geometry))
    nibabel.save(scan, folder / "scan.nii.gz")
    volume = inspect(folder / "scan.nii.gz").volume
    mask = write(volume.with_voxels(volume.voxels > 0), folder / "mask.nii.gz")
    np.testing.assert_array_equal(
        nibabel.load(mask).affine, nibabel.load(scan.get_filename()).affine
    )


def test_the_header_says_all_that_viewers_want_and_no_more(tmp_path: Path) -> None:
    header = nibabel.load(write(volume_of(np.uint16), tmp_path / "mask.nii")).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header.get_intent() == ("label", (), "")
    assert header.get_data_dtype() == np.uint8
    raw = (tmp_path / "mask.nii").read_bytes()
    assert np.frombuffer(raw[112:120], "<f4").tolist() == [1, 0]
    assert raw[148:252] == bytes(104)
    image = nibabel.load(write(volume_of(np.int16), tmp_path / "image.nii"))
    assert image.header.get_intent()[0] == "none"


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_volume_gives_the_same_bytes(tmp_path: Path, ending: str) -> None:
    one = write(volume_of(), tmp_path / f"one{ending}").read_bytes()
    assert write(volume_of(), tmp_path / f"two{ending}").read_bytes() == one
    if ending == ".nii.gz":
        flags, time_stamp = one[3], one[4:8]
        assert (flags, time_stamp) == (0, bytes(4))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((0, 255), np.uint8),
        ((0, 256), np.uint16),
        ((0, 65536), np.uint32),
        ((-1, 5), np.int16),
        ((-1, 32768), np.int32),
        ((-40000, 0), np.int32),
        ((-9, -3), np.int16),
    ],
)
def test_integers_take_the_smallest_type_that_holds_them(
    tmp_path: Path, values: tuple[int, int], dtype: Any
) -> None:
    voxels = np.array(values, dtype=np.int64).reshape(1, 2, 1, 1)
    path = write(Volume(voxels, Grid((2, 1, 1), affine_of())), tmp_path / "a.nii.gz")
    stored = nibabel.load(path)
    assert stored.get_data_dtype() == dtype
    assert np.asanyarray(stored.dataobj).ravel().tolist() == list(values)


def test_channels_become_the_fourth_axis_of_a_nifti_file(tmp_path: Path) -> None:
    volume = volume_of(np.float32, channels=3)
    path = write(volume, tmp_path / "two.nii.gz")
    assert nibabel.load(path).shape == (5, 6, 7, 3)
    again = inspect(path, channels_in_file=True).volume
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    with pytest.raises(ShapeError, match="3 channels"):
        write(volume, tmp_path / "two.mha")


@pytest.mark.parametrize("name", ["mask.jpg", "mask", "mask.nii.bz2", "mask.mhd"])
def test_other_endings_are_refused_with_advice(tmp_path: Path, name: str) -> None:
    with pytest.raises(WriteError, match=r"name it \.nii\.gz, \.nii, \.nrrd, \.mha or \.png"):
        write(volume_of(), tmp_path / name)


def test_axes_that_miss_their_right_angles_are_not_written(tmp_path: Path) -> None:
    affine = np.array([[1.0, 0.01, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(GeometryError, match=r"right angle by 0\.57 degrees"):
        write(Volume(np.zeros((1, 2, 2, 2)), Grid((2, 2, 2), affine)), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_values_that_float32_cannot_hold_are_not_written(tmp_path: Path) -> None:
    volume = volume_of(np.float64)
    with pytest.raises(ShapeError, match="range of float32"):
        write(volume.with_voxels(volume.voxels * 1e38), tmp_path / "a.nii.gz")
    with pytest.raises(ShapeError, match="complex64"):
        write(volume.with_voxels(volume.voxels.astype(np.complex64)), tmp_path / "a.nii.gz")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_number_is_kept_as_it_is(tmp_path: Path, ending: str) -> None:
    volume = volume_of(np.float32)
    volume.voxels[0, 0, 0, :2] = np.nan, -np.inf
    path = write(volume, tmp_path / f"a{ending}")
    reading = inspect(path, accept=("IMG-NONFINITE",))
    assert reading.findings[0].numbers["count"] == 2


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="'nowhere' is not there"):
        write(volume_of(), tmp_path / "nowhere" / "a.nii.gz")


CHILD = """
import resource, sys
import numpy as np
from volunet.errors import WriteError
from volunet.io.write import write
from volunet.space.grid import Grid
from volunet.space.volume import Volume
noise = np.random.default_rng(0).integers(0, 200, (1, 100, 100, 60)).astype(np.uint8)
volume = Volume(noise, Grid((100, 100, 60), np.eye(4)))
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        write(volume, sys.argv[1])
    except WriteError as error:
        print(error)
else:
    while True:
        write(volume, sys.argv[1])
        print("once", flush=True)
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_no_file_under_the_name(tmp_path: Path, ending: str) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / f"mask{ending}"), "full"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "full. Free some space" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_kill_9_leaves_a_whole_mask_under_the_name(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    for attempt in range(3):
        command = [sys.executable, "-c", CHILD, str(path), "on"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "once\n"
            time.sleep(0.01 * attempt)
            child.send_signal(signal.SIGKILL)
        assert read_mask(path).volume.grid.shape == (100, 100, 60)
        path.unlink()
