"""What a sound or slightly odd scan becomes: values, types, channels, names."""

from __future__ import annotations

import os
import tracemalloc
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.bytes_and_header import VALUES, without_values
from tests.faults.corpus import gz, keep, raw_of, setting, voxels_of
from tests.io.scans import volume_of
from volunet.findings import Refused
from volunet.io.names import suffix
from volunet.io.read import SUFFIXES, inspect, read, read_channels, stem
from volunet.io.scan import read_header
from volunet.io.sniff import DICOM_ADVICE
from volunet.io.write import write

NAMED = {fault.name: fault for fault in VALUES}


@pytest.mark.parametrize("scale", [(2.0, 0.0), (0.5, -1024.0), (-1.0, 3.0), (1.0, -7.0)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_scaled_values_are_those_of_nibabel_in_float32(
    tmp_path: Path, dtype: str, scale: tuple[float, float]
) -> None:
    change = setting(scl_slope=scale[0], scl_inter=scale[1])
    path = keep(tmp_path, "scan.nii", raw_of(voxels_of(dtype), change))
    voxels = inspect(path).volume.voxels
    assert voxels.dtype == np.float32
    np.testing.assert_allclose(voxels[0], nibabel.load(path).get_fdata(), rtol=1e-6)


def test_scaled_channels_of_a_file_are_read_in_no_more_memory_than_its_header_says(
    tmp_path: Path,
) -> None:
    voxels = voxels_of("int16", (64, 60, 32, 3))
    change = setting(scl_slope=0.3, scl_inter=-1024.7)
    path = keep(tmp_path, "scan.nii", raw_of(voxels, change))
    most = read_header([path], channels_in_file=True).reading_bytes
    tracemalloc.start()
    seen = inspect(path, channels_in_file=True).volume.voxels
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    wanted = nibabel.load(path).get_fdata().astype(np.float32)
    np.testing.assert_array_equal(seen, np.moveaxis(wanted, -1, 0))
    assert peak < most + 500_000  # a slice in float64, and a chunk of the file


@pytest.mark.parametrize("name", ["a few NaN", "a few infinities", "one -infinity"])
def test_what_is_no_number_becomes_the_lowest_that_is(tmp_path: Path, name: str) -> None:
    path = NAMED[name].build(tmp_path)
    reading, stored = inspect(path), np.asanyarray(nibabel.load(path).dataobj)
    bad = ~np.isfinite(stored)
    assert reading.findings[0].numbers["count"] == bad.sum()
    assert (reading.volume.voxels[0][bad] == stored[~bad].min()).all()
    np.testing.assert_array_equal(reading.volume.voxels[0][~bad], stored[~bad])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.dcm", bytes(128) + b"DICM"),
        ("scan.nii", bytes(128) + b"DICM"),
        ("x.IMA", b"no preamble"),
    ],
)
def test_a_single_file_of_dicom_gets_the_advice_of_a_folder(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused) as caught:
        inspect(tmp_path / name)
    (found,) = caught.value.findings
    assert (found.code, found.advice) == ("IO-FORMAT", DICOM_ADVICE)
    assert found.message == "This is DICOM, which is not yet read."


def test_each_channel_of_a_file_is_judged_and_mended_by_itself(tmp_path: Path) -> None:
    ct = np.linspace(-1000, 2000, 32000, dtype=np.float32).reshape(20, 40, 40)
    pet, flat = without_values(np.nan, 33) + 400, np.full_like(ct, 5)
    path = keep(tmp_path, "scan.nii", raw_of(np.stack([ct, pet, flat], axis=-1)))
    with pytest.raises(Refused, match=r"Channel 2 of 3: 33 voxels \(0\.10%\) are NaN"):
        inspect(path, channels_in_file=True)
    reading = inspect(path, channels_in_file=True, accept=["IMG-NONFINITE"])
    bad = np.isnan(pet)
    assert (reading.volume.voxels[1][bad] == 100).all()
    np.testing.assert_array_equal(reading.mended, bad)
    told = {found.code: found.message for found in reading.findings}
    assert told["IMG-CONSTANT"] == "Channel 3 of 3: Every voxel is 5."


def test_an_accepted_plane_is_one_slice(tmp_path: Path) -> None:
    reading = inspect(NAMED["a plane"].build(tmp_path), accept=("IMG-2D",))
    assert reading.volume.grid.shape == (8, 9, 1)


def test_an_axis_of_one_is_dropped(tmp_path: Path) -> None:
    reading = inspect(NAMED["one time point"].build(tmp_path))
    np.testing.assert_array_equal(reading.volume.voxels, voxels_of()[None])


def test_time_points_and_vectors_are_channels_where_asked(tmp_path: Path) -> None:
    reading = inspect(NAMED["five time points"].build(tmp_path), channels_in_file=True)
    stored = voxels_of(shape=(8, 9, 10, 5))
    np.testing.assert_array_equal(reading.volume.voxels, np.moveaxis(stored, -1, 0))
    vectors = inspect(NAMED["vectors"].build(tmp_path), channels_in_file=True)
    assert vectors.volume.voxels.shape == (3, 8, 9, 10)


def test_bytes_between_header_and_voxels_are_passed_over(tmp_path: Path) -> None:
    raw = raw_of(voxels_of(), setting(vox_offset=352 + 640))
    path = keep(tmp_path, "scan.nii.gz", gz(raw[:352] + bytes(640) + raw[352:]))
    reading = inspect(path)
    assert reading.findings == ()
    np.testing.assert_array_equal(reading.volume.voxels[0], voxels_of())


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="IO-MISSING"):
        inspect(tmp_path / "no.nii.gz")
    with pytest.raises(Refused, match="IO-FORMAT: This is a folder"):
        inspect(tmp_path)


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scan.nii.gz")
    with pytest.raises(Refused, match="IO-FORMAT: This is a device or a pipe"):
        inspect(tmp_path / "scan.nii.gz")


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="a file that cannot be read")
def test_a_file_that_the_disk_does_not_give_is_a_fault() -> None:
    with pytest.raises(Refused, match="IO-FAULT: The file could not be read"):
        inspect("/proc/self/mem")


def test_the_message_says_what_a_file_is(tmp_path: Path) -> None:
    page = b"\n<html><body>Please log in</body></html>"
    with pytest.raises(Refused, match=r"This is an HTML page, not \.nii\.gz"):
        inspect(keep(tmp_path, "scan.nii.gz", page))
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"
    with pytest.raises(Refused, match="Git LFS pointer"):
        inspect(keep(tmp_path, "scan.nii.gz", pointer))


def test_a_truncated_file_is_told_in_bytes(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        inspect(keep(tmp_path, "scan.nii", raw_of(voxels_of())[:-40]))
    (found,) = refusal.value.findings
    assert found.numbers == {"expected": 1440, "got": 1400}


def test_several_files_of_a_case_are_its_channels(tmp_path: Path) -> None:
    paths = [
        write(volume_of(dtype), tmp_path / f"{dtype.__name__}.nii.gz")
        for dtype in (np.int16, np.float32)
    ]
    reading = read_channels(paths)
    assert reading.volume.voxels.shape == (2, 5, 6, 7)
    np.testing.assert_array_equal(reading.volume.voxels[0], reading.volume.voxels[1])


def test_channels_on_other_grids_are_refused_unless_accepted(tmp_path: Path) -> None:
    one = write(volume_of(), tmp_path / "one.nii.gz")
    two = write(volume_of(origin=(0, 0, 0)), tmp_path / "two.nii.gz")
    with pytest.raises(Refused, match="GEO-MISMATCH") as refusal:
        read_channels([one, two])
    assert refusal.value.findings[0].file == "two.nii.gz"
    reading = read_channels([one, two], accept=("GEO-MISMATCH",))
    assert reading.volume.grid.matches(inspect(one).volume.grid)
    assert [found.accepted for found in reading.findings] == [True]


def test_channels_of_other_size_are_refused_even_if_accepted(tmp_path: Path) -> None:
    one = write(volume_of(), tmp_path / "one.nii.gz")
    volume = volume_of()
    two = write(volume.reoriented("SAR"), tmp_path / "two.nii.gz")
    with pytest.raises(Refused, match="GEO-MISMATCH"):
        read_channels([one, two], accept=("GEO-MISMATCH",))


def test_findings_are_put_down_to_a_case(tmp_path: Path) -> None:
    reading = inspect(NAMED["one slice"].build(tmp_path)).of_case("patient 7")
    assert [found.case for found in reading.findings] == ["patient 7"]


def test_scans_are_read_in_threads(tmp_path: Path) -> None:
    paths = [write(volume_of(), tmp_path / f"{n}.nii.gz") for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        volumes = list(pool.map(read, paths * 4))
    assert all(np.array_equal(volume.voxels, volume_of().voxels) for volume in volumes)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("a.nii.gz", "a"),
        ("a.b.c.nii.gz", "a.b.c"),
        ("A.NII.GZ", "A"),
        ("a.gz", "a.gz"),
        ("with space.nrrd", "with space"),
        ("-lead.mha", "-lead"),
        ("%s{}.nii", "%s{}"),
        ("folder.nii/a", "a"),
        (unicodedata.normalize("NFD", "Müller.nii.gz"), "Müller"),
    ],
)
def test_a_case_is_its_name_without_the_known_ending(name: str, case: str) -> None:
    assert stem(name) == case


file_names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1)


@given(name=file_names, ending=st.data())
def test_a_name_is_its_case_and_its_ending(name: str, ending: Any) -> None:
    known = ending.draw(st.sampled_from(SUFFIXES))
    path = f"x{name}{known}"
    assert suffix(path) == known
    assert stem(path) == unicodedata.normalize("NFC", f"x{name}")
