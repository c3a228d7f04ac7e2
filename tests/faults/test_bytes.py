"""No flipped, missing or invented byte ever changes a voxel unnoticed, or raises anything else."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import LoadImaged

from tests.faults.corpus import gz, keep, raw_of, setting, voxels_of
from volunet.codes import CODES
from volunet.findings import Refused
from volunet.io.monai_reader import VerifiedNiftiReader
from volunet.io.read import Reading, inspect
from volunet.io.write import write

SMALL = (4, 3, 5)
RAW = raw_of(voxels_of(shape=SMALL))
PACKED = gz(RAW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytes")


@pytest.fixture(scope="module")
def sound(folder: Path) -> Reading:
    return inspect(keep(folder, "sound.nii.gz", PACKED))


def outcome(path: Path, accept: tuple[str, ...] = ()) -> Reading | None:
    """The reading, or None where it was refused; any other exception goes through."""
    try:
        return inspect(path, accept=accept)
    except Refused:
        return None


def is_the_scan(reading: Reading, sound: Reading) -> bool:
    return np.array_equal(reading.volume.voxels, sound.volume.voxels) and np.array_equal(
        reading.volume.grid.affine, sound.volume.grid.affine
    )


@settings(max_examples=500)
@given(at=st.integers(0, len(PACKED) - 1), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_changes_nothing(
    folder: Path, sound: Reading, at: int, flip: int
) -> None:
    bad = bytearray(PACKED)
    bad[at] ^= flip
    reading = outcome(keep(folder, "flipped.nii.gz", bytes(bad)))
    assert reading is None or is_the_scan(reading, sound)


def test_a_flipped_bit_at_any_place_of_our_own_files_is_refused_or_changes_nothing(
    folder: Path, sound: Reading
) -> None:
    written = write(sound.volume, folder / "ours.nii.gz").read_bytes()
    refused = 0
    for at in range(len(written)):
        bad = bytearray(written)
        bad[at] ^= 1 << at % 8
        reading = outcome(keep(folder, "flipped.nii.gz", bytes(bad)))
        refused += reading is None
        assert reading is None or is_the_scan(reading, sound)
    assert refused > 0.8 * len(written)


@pytest.mark.parametrize(("name", "content"), [("cut.nii.gz", PACKED), ("cut.nii", RAW)])
def test_a_file_cut_at_any_length_is_refused(folder: Path, name: str, content: bytes) -> None:
    kept = [n for n in range(len(content)) if outcome(keep(folder, name, content[:n])) is not None]
    assert kept == []


@settings(max_examples=400)
@given(
    changes=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=8),
    accept=st.booleans(),
)
def test_any_header_is_read_or_refused_and_nothing_else(
    folder: Path, changes: list[tuple[int, int]], accept: bool
) -> None:
    bad = bytearray(RAW)
    for at, value in changes:
        bad[at] = value
    path = keep(folder, "any.nii", bytes(bad))
    reading = outcome(path, accept=tuple(CODES) if accept else ())
    assert reading is None or np.isfinite(reading.volume.voxels).all()


@settings(max_examples=300)
@given(tail=st.binary(max_size=400), head=st.sampled_from([RAW[:348], PACKED[:12], b"NRRD0004\n"]))
def test_any_bytes_are_read_or_refused_and_nothing_else(
    folder: Path, head: bytes, tail: bytes
) -> None:
    outcome(keep(folder, "any.nii.gz", head + tail))


@pytest.mark.parametrize("at", range(10, len(PACKED), 7))
def test_a_flipped_byte_never_becomes_a_tensor_in_a_pipeline_of_monai(
    tmp_path: Path, at: int
) -> None:
    bad = bytearray(PACKED)
    bad[at] ^= 0x55
    path = keep(tmp_path, "scan.nii.gz", bytes(bad))
    load = LoadImaged(keys="image", reader=VerifiedNiftiReader(), ensure_channel_first=True)
    if outcome(path) is None:
        with pytest.raises(Refused):
            load({"image": path})


def peak_of(path: Path) -> int:
    tracemalloc.start()
    try:
        assert outcome(path) is None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "pack"), [("bomb.nii", lambda raw: raw), ("bomb.nii.gz", gz)], ids=["raw", "packed"]
)
def test_a_bomb_is_refused_before_memory_is_taken(tmp_path: Path, name: str, pack: Any) -> None:
    claims = setting(dim=[3, 2600, 2600, 2600, 1, 1, 1, 1], datatype=16, bitpix=32)
    path = keep(tmp_path, name, pack(raw_of(voxels_of(), claims)))
    assert peak_of(path) < 4e6


def test_a_stream_that_goes_on_and_on_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = keep(tmp_path, "long.nii.gz", gz(RAW + bytes(80 << 20)))
    assert peak_of(path) < 8e6
