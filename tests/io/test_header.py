"""A header says what a scan will be, before and without its voxels."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from volunet.findings import Refused
from volunet.io.header import Header
from volunet.io.scan import inspect, read_channels, read_header
from volunet.io.write import write
from volunet.space.grid import Grid
from volunet.space.volume import Volume

AFFINE = np.array([[-0.8, 0, 0, 5], [0, 0, 1.5, -7], [0, 0.9, 0, 3], [0, 0, 0, 1.0]])


def scan(kind="i2", shape=(9, 8, 7), channels=1) -> Volume:
    voxels = np.random.default_rng(0).integers(-90 * (kind[0] != "u"), 90, (channels, *shape))
    return Volume(voxels.astype(kind), Grid(shape, AFFINE))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("kind", ["i2", "u1", "f4"])
def test_a_header_says_what_reading_gives(tmp_path, name, kind):
    path = write(scan(kind), tmp_path / name)
    header, volume = read_header([path]), inspect(path).volume
    assert header.grid.matches(volume.grid)
    np.testing.assert_array_equal(header.grid.affine, volume.grid.affine)
    assert (header.channels, header.dtype) == (1, volume.voxels.dtype)
    assert header.nbytes == volume.voxels.nbytes <= header.reading_bytes


def test_a_scan_that_the_file_scales_is_read_as_float32_beside_its_stored_voxels(tmp_path):
    image = nib.Nifti1Image(scan().voxels[0], AFFINE)
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "a.nii.gz")
    header = read_header([tmp_path / "a.nii.gz"])
    assert header.dtype == inspect(tmp_path / "a.nii.gz").volume.voxels.dtype == np.float32
    assert (header.nbytes, header.reading_bytes) == (4 * 504, 6 * 504)


def test_files_of_channels_are_one_scan(tmp_path):
    paths = [write(scan(kind), tmp_path / f"{kind}.nii.gz") for kind in ("i2", "f4")]
    header, volume = read_header(paths), read_channels(paths).volume
    assert (header.channels, header.dtype) == (2, volume.voxels.dtype)
    assert header.nbytes == volume.voxels.nbytes


def test_channels_in_one_file_are_counted(tmp_path):
    path = write(scan(channels=3), tmp_path / "a.nii.gz")
    assert read_header([path], channels_in_file=True).channels == 3
    with pytest.raises(Refused, match="IMG-AXES"):
        read_header([path])


def test_no_voxel_is_needed(tmp_path):
    path = write(scan(shape=(90, 80, 70)), tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:2000])
    assert read_header([path]).grid.shape == (90, 80, 70)
    with pytest.raises(Refused, match="IO-TRUNC"):
        inspect(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_a_header_that_says_more_than_the_file_can_hold_is_refused(tmp_path, name):
    """A whole packed stream of so little was never that scan; all others lost their end."""
    path = write(scan(shape=(90, 80, 70)), tmp_path / name)
    content = path.read_bytes()
    if name == "a.nii.gz":
        path.write_bytes(gzip.compress(gzip.decompress(content)[:1000]))
    else:
        path.write_bytes(content[:700])
    for look in (lambda: read_header([path]), lambda: inspect(path)):
        with pytest.raises(Refused, match="IO-BOMB" if name == "a.nii.gz" else "IO-TRUNC"):
            look()


def test_what_reading_refuses_for_its_header_is_refused_alike(tmp_path):
    affine = AFFINE.copy()
    affine[:3, 1] += affine[:3, 0]
    nib.save(nib.Nifti1Image(scan().voxels[0], affine), tmp_path / "a.nii.gz")
    with pytest.raises(Refused) as by_header:
        read_header([tmp_path / "a.nii.gz"])
    with pytest.raises(Refused) as by_reading:
        inspect(tmp_path / "a.nii.gz")
    assert by_header.value.findings == by_reading.value.findings
    with pytest.raises(Refused, match="IO-MISSING"):
        read_header([tmp_path / "b.nii.gz"])


def test_one_channel_of_channels_is_itself():
    header = Header(scan().grid, 1, np.dtype("i2"))
    assert Header.of_channels([header]) is header
