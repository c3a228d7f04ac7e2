"""The reader in MONAI's own pipelines: same arrays and places as MONAI's, none of its trust."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, LoadImage, LoadImaged, Orientationd, Spacingd

from tests.faults.corpus import gz, keep, raw_of, setting, voxels_of
from tests.io.scans import volume_of
from volunet.findings import Refused
from volunet.io.monai_reader import VerifiedNiftiReader
from volunet.io.read import inspect, read
from volunet.io.write import write


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write(volume_of(np.int16), tmp_path / "scan.nii.gz")


def test_a_scan_comes_out_as_with_the_reader_of_monai(scan: Path) -> None:
    ours = LoadImage(reader=VerifiedNiftiReader(), ensure_channel_first=True)(scan)
    theirs = LoadImage(reader="NibabelReader", ensure_channel_first=True)(scan)
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())
    assert torch.equal(ours.affine, theirs.affine)
    for key in ("spatial_shape", "space", "original_channel_dim"):
        assert str(ours.meta[key]) == str(theirs.meta[key])


def test_orientation_and_spacing_follow_as_with_the_reader_of_monai(scan: Path) -> None:
    mask = write(volume_of(np.uint8), scan.with_name("mask.nii.gz"))
    keys = ("image", "label")
    seen = []
    for reader in (VerifiedNiftiReader(), "NibabelReader"):
        pipeline = Compose(
            [
                LoadImaged(keys=keys, reader=reader, ensure_channel_first=True),
                Orientationd(keys=keys, axcodes="RAS", labels=None),
                Spacingd(keys=keys, pixdim=(1.0, 1.0, 2.0), mode=("bilinear", "nearest")),
            ]
        )
        seen.append(pipeline({"image": scan, "label": mask}))
    ours, theirs = seen
    for key in keys:
        assert torch.equal(ours[key].as_tensor(), theirs[key].as_tensor())
        assert torch.equal(ours[key].affine, theirs[key].affine)


def test_several_files_become_channels(scan: Path) -> None:
    other = write(volume_of(np.float32), scan.with_name("other.nii.gz"))
    image = LoadImage(reader=VerifiedNiftiReader(), ensure_channel_first=True)([scan, other])
    assert image.shape == (2, 5, 6, 7)
    assert torch.equal(image[0], image[1])


def test_several_files_on_other_grids_are_refused(scan: Path) -> None:
    other = write(volume_of(origin=(0, 0, 0)), scan.with_name("other.nii.gz"))
    with pytest.raises(Refused, match="GEO-MISMATCH"):
        LoadImage(reader=VerifiedNiftiReader())([scan, other])


def test_channels_in_a_file_are_read_where_asked(tmp_path: Path) -> None:
    volume = volume_of(np.float32, channels=2)
    path = write(volume, tmp_path / "two.nii.gz")
    load = LoadImage(reader=VerifiedNiftiReader(channels_in_file=True), ensure_channel_first=True)
    assert torch.equal(load(path).as_tensor(), torch.from_numpy(volume.voxels))
    with pytest.raises(Refused, match="IMG-AXES"):
        LoadImage(reader=VerifiedNiftiReader())(path)


def test_the_readers_of_monai_are_never_asked_after_a_refusal(tmp_path: Path) -> None:
    raw = bytearray(gz(raw_of(voxels_of())))
    raw[400] ^= 0xFF
    path = keep(tmp_path, "scan.nii.gz", bytes(raw))
    with pytest.raises(Refused, match="IO-CRC"):
        LoadImaged(keys="image", reader=VerifiedNiftiReader())({"image": path})
    with pytest.raises(RuntimeError, match="applying transform") as wrapped:
        Compose([LoadImaged(keys="image", reader=VerifiedNiftiReader())])({"image": path})
    assert isinstance(wrapped.value.__cause__, Refused)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="IO-MISSING") as refusal:
        LoadImage(reader=VerifiedNiftiReader())(tmp_path / "no.nii.gz")
    assert refusal.value.findings[0].file == "no.nii.gz"


def test_opening_never_raises() -> None:
    reader = VerifiedNiftiReader()
    assert reader.read("/nowhere/at/all.nii.gz").paths == ("/nowhere/at/all.nii.gz",)


def test_the_reader_is_chosen_by_endings_of_scans() -> None:
    reader = VerifiedNiftiReader()
    assert reader.verify_suffix(["a.nii.gz", "b.MHA"])
    assert not reader.verify_suffix("a.png")


def test_findings_are_logged_and_travel_with_the_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = keep(tmp_path, "scan.nii.gz", gz(raw_of(voxels_of())) + b"tail")
    with caplog.at_level(logging.WARNING):
        image = LoadImage(reader=VerifiedNiftiReader())(path)
    assert [record.name for record in caplog.records] == ["volunet.io.monai_reader"]
    assert "IO-TRAILING" in caplog.text
    assert '"code": "IO-TRAILING"' in image.meta["findings"]


def test_waivers_reach_the_reader(tmp_path: Path) -> None:
    raw = raw_of(voxels_of(), setting(scl_slope=0, scl_inter=5))
    path = keep(tmp_path, "scan.nii.gz", gz(raw))
    image = LoadImage(reader=VerifiedNiftiReader(accept=("IMG-SCALE",)))(path)
    assert float(image.max()) == 419
    assert read(path, accept=("IMG-SCALE",)).voxels.max() == 419


def test_a_loader_of_monai_batches_what_the_reader_gives(scan: Path) -> None:
    data: Any = Dataset(
        [{"image": scan}, {"image": scan}],
        LoadImaged(keys="image", reader=VerifiedNiftiReader(), ensure_channel_first=True),
    )
    (batch,) = DataLoader(data, batch_size=2)
    assert batch["image"].shape == (2, 1, 5, 6, 7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.int32, np.float32])
def test_reading_keeps_the_type_and_every_bit(tmp_path: Path, dtype: Any) -> None:
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1.5e38
    volume = volume_of(dtype)
    volume.voxels[0, 0, 0, 0] = top
    raw = raw_of(volume.voxels[0], affine=volume.grid.affine)
    path = keep(tmp_path, "scan.nii.gz", gz(raw))
    seen, inspected = read(path), inspect(path).volume
    assert seen.voxels.dtype == inspected.voxels.dtype == dtype
    np.testing.assert_array_equal(seen.voxels, volume.voxels)
    np.testing.assert_array_equal(seen.grid.affine, volume.grid.affine)
