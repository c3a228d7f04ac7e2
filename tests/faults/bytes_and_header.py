"""Faults of NIfTI bytes, headers and values, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.faults.corpus import (
    Fault,
    bytes_fault,
    gz,
    header_fault,
    raw_of,
    setting,
    voxel_fault,
    voxels_of,
)


def plain(**more: Any) -> bytes:
    return raw_of(voxels_of(), **more)


def packed() -> bytes:
    return gz(plain())


def large() -> bytes:
    """A mask that packs to a thousandth, as most masks nearly do."""
    return raw_of(np.zeros((200, 200, 100), dtype=np.uint8))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def without_values(number: float, count: int) -> NDArray[np.float32]:
    """An image of 32 000 voxels of which `count` are this number."""
    voxels = voxels_of("float32", (20, 40, 40))
    voxels.flat[1000 : 1000 + count] = number
    return voxels


PAGE = b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20

BYTES = [
    bytes_fault("an empty file", "IO-EMPTY", "refuse", "scan.nii", bytes),
    bytes_fault("an empty .gz", "IO-EMPTY", "refuse", "scan.nii.gz", bytes),
    bytes_fault("gzip of nothing", "IO-EMPTY", "refuse", "scan.nii.gz", lambda: gz(b"")),
    bytes_fault("half a header", "IO-TRUNC", "refuse", "scan.nii", lambda: plain()[:200]),
    bytes_fault("a header without voxels", "IO-TRUNC", "refuse", "scan.nii", lambda: plain()[:352]),
    bytes_fault(
        "a header without voxels, packed",
        "IO-TRUNC",
        "refuse",
        "scan.nii.gz",
        lambda: gz(plain()[:352]),
    ),
    bytes_fault("cut voxels", "IO-TRUNC", "refuse", "scan.nii", lambda: plain()[:-500]),
    bytes_fault(
        "cut voxels, packed", "IO-TRUNC", "refuse", "scan.nii.gz", lambda: gz(plain()[:-1])
    ),
    bytes_fault("voxels cut to nothing", "IO-TRUNC", "refuse", "a.nii", lambda: large()[:352]),
    bytes_fault(
        "a much packed stream, cut", "IO-TRUNC", "refuse", "a.nii.gz", lambda: gz(large())[:2500]
    ),
    bytes_fault("a cut gzip stream", "IO-TRUNC", "refuse", "scan.nii.gz", lambda: packed()[:-200]),
    bytes_fault(
        "gzip without its trailer", "IO-TRUNC", "refuse", "a.nii.gz", lambda: packed()[:-8]
    ),
    bytes_fault("a wrong CRC", "IO-CRC", "refuse", "scan.nii.gz", lambda: flipped(packed(), -8)),
    bytes_fault("a wrong length", "IO-CRC", "refuse", "scan.nii.gz", lambda: flipped(packed(), -4)),
    bytes_fault(
        "a flipped byte", "IO-CRC", "refuse", "scan.nii.gz", lambda: flipped(packed(), 400)
    ),
    bytes_fault(
        "garbage behind gzip", "IO-TRAILING", "warn", "scan.nii.gz", lambda: packed() + b"\0" * 50
    ),
    bytes_fault(
        "one byte behind gzip", "IO-TRAILING", "warn", "scan.nii.gz", lambda: packed() + b"x"
    ),
    bytes_fault("bytes behind the voxels", "IO-TRAILING", "warn", "a.nii", lambda: plain() + b"xy"),
    bytes_fault(
        "a slice behind the voxels",
        "IO-TRAILING",
        "refuse",
        "a.nii.gz",
        lambda: gz(plain(change=setting(dim={3: 9}))),
        waivable=True,
    ),
    bytes_fault(
        "numbers of 32 bits called 16, raw",
        "IO-TRAILING",
        "refuse",
        "a.nii",
        lambda: raw_of(voxels_of("float32"), setting(datatype=4)),
        waivable=True,
    ),
    bytes_fault(
        "time points that dim does not tell, more than are read",
        "IO-TRAILING",
        "refuse",
        "a.nii.gz",
        lambda: gz(plain() + bytes(80 << 20)),
    ),
    bytes_fault(
        "two gzip members", "", "fine", "a.nii.gz", lambda: gz(plain()[:700]) + gz(plain()[700:])
    ),
    bytes_fault("a plain file named .gz", "IO-NAME", "warn", "scan.nii.gz", plain),
    bytes_fault("gzip named .nii", "IO-NAME", "refuse", "scan.nii", packed, waivable=True),
    bytes_fault("HTML named .nii.gz", "IO-FORMAT", "refuse", "scan.nii.gz", lambda: PAGE),
    bytes_fault("packed HTML", "IO-FORMAT", "refuse", "scan.nii.gz", lambda: gz(PAGE)),
    bytes_fault("a zip", "IO-FORMAT", "refuse", "scan.nii", lambda: b"PK\x03\x04" + bytes(600)),
    bytes_fault("DICOM", "IO-FORMAT", "refuse", "a.nii", lambda: bytes(128) + b"DICM" + bytes(400)),
    bytes_fault("a PNG", "IO-FORMAT", "refuse", "a.nii", lambda: b"\x89PNG\r\n\x1a\n" + bytes(400)),
    bytes_fault("noise", "IO-FORMAT", "refuse", "a.nii", lambda: bytes(range(7, 207)) * 20),
    bytes_fault(
        "half a pair",
        "IO-FORMAT",
        "refuse",
        "scan.hdr",
        lambda: plain(change=setting(magic=b"ni1")),
    ),
    bytes_fault(
        "a wrong magic", "NII-MAGIC", "refuse", "a.nii", lambda: plain(change=setting(magic=b"n+9"))
    ),
    bytes_fault("big endian", "", "fine", "scan.nii.gz", lambda: gz(plain(order=">"))),
    bytes_fault("NIfTI-2", "", "fine", "scan.nii.gz", lambda: gz(plain(version=2))),
    bytes_fault("big-endian NIfTI-2", "", "fine", "scan.nii", lambda: plain(version=2, order=">")),
]

HEADER = [
    header_fault("sizeof_hdr 0", "NII-HEADER", "warn", setting(sizeof_hdr=0)),
    header_fault("dim[0] = 0", "NII-DIM", "refuse", setting(dim={0: 0})),
    header_fault("dim[0] = 9", "NII-DIM", "refuse", setting(dim={0: 9})),
    header_fault("dim[0] negative", "NII-DIM", "refuse", setting(dim={0: -3})),
    header_fault("one axis", "NII-DIM", "refuse", setting(dim={0: 1})),
    header_fault("an axis of length zero", "NII-DIM", "refuse", setting(dim={2: 0})),
    header_fault("a negative axis", "NII-DIM", "refuse", setting(dim={1: -8})),
    header_fault(
        "a header that claims more than the file",
        "IO-TRUNC",
        "refuse",
        setting(dim=[3, 2600, 2600, 2600, 1, 1, 1, 1], datatype=16, bitpix=32),
        packed=False,
    ),
    header_fault(
        "a packed header bomb",
        "IO-BOMB",
        "refuse",
        setting(dim=[3, 2600, 2600, 2600, 1, 1, 1, 1], datatype=16, bitpix=32),
    ),
    header_fault(
        "32767 to the fourth",
        "IMG-AXES",
        "refuse",
        setting(dim=[4, 32767, 32767, 32767, 32767, 1, 1, 1]),
    ),
    header_fault("vox_offset 0", "NII-OFFSET", "refuse", setting(vox_offset=0)),
    header_fault("vox_offset huge", "NII-OFFSET", "refuse", setting(vox_offset=1e9)),
    header_fault("vox_offset past the end", "NII-OFFSET", "refuse", setting(vox_offset=4000)),
    header_fault(
        "vox_offset past the end, raw",
        "NII-OFFSET",
        "refuse",
        setting(vox_offset=4000),
        packed=False,
    ),
    header_fault("vox_offset NaN", "NII-OFFSET", "refuse", setting(vox_offset=np.nan)),
    header_fault("vox_offset infinite", "NII-OFFSET", "refuse", setting(vox_offset=np.inf)),
    header_fault("an unknown data type", "NII-DTYPE", "refuse", setting(datatype=999)),
    header_fault("data type 0", "NII-DTYPE", "refuse", setting(datatype=0)),
    header_fault("single bits", "NII-DTYPE", "refuse", setting(datatype=1, bitpix=1)),
    header_fault("float128", "NII-DTYPE", "refuse", setting(datatype=1536, bitpix=128)),
    header_fault("complex64", "IMG-COMPLEX", "refuse", setting(datatype=32, bitpix=64)),
    header_fault("complex128", "IMG-COMPLEX", "refuse", setting(datatype=1792, bitpix=128)),
    header_fault("RGB24", "IMG-COLOUR", "refuse", setting(datatype=128, bitpix=24)),
    header_fault("RGBA32", "IMG-COLOUR", "refuse", setting(datatype=2304, bitpix=32)),
    header_fault("bitpix of another type", "NII-HEADER", "warn", setting(bitpix=32)),
    header_fault("units that are no length", "NII-HEADER", "warn", setting(xyzt_units=5)),
    header_fault(
        "slope 0, intercept 5",
        "IMG-SCALE",
        "refuse",
        setting(scl_slope=0, scl_inter=5),
        waivable=True,
    ),
    header_fault("slope 0, intercept 0", "", "fine", setting(scl_slope=0)),
    header_fault("slope NaN", "IMG-SCALE-IGNORED", "warn", setting(scl_slope=np.nan)),
    header_fault("slope infinite", "IMG-SCALE-IGNORED", "warn", setting(scl_slope=np.inf)),
    header_fault("intercept NaN", "IMG-SCALE", "refuse", setting(scl_inter=np.nan), waivable=True),
    header_fault("slope 200 on int16", "", "fine", setting(scl_slope=200)),
    header_fault("scaling past float32", "IMG-RANGE", "refuse", setting(scl_slope=3e38)),
]

VALUES = [
    voxel_fault("a plane", "IMG-2D", "refuse", lambda: voxels_of(shape=(8, 9)), waivable=True),
    voxel_fault("one time point", "IMG-SQUEEZED", "info", lambda: voxels_of(shape=(8, 9, 10, 1))),
    voxel_fault("five time points", "IMG-AXES", "refuse", lambda: voxels_of(shape=(8, 9, 10, 5))),
    voxel_fault("vectors", "IMG-AXES", "refuse", lambda: voxels_of(shape=(8, 9, 10, 1, 3))),
    voxel_fault("a few NaN", "IMG-NONFINITE", "warn", lambda: without_values(np.nan, 32)),
    voxel_fault("a few infinities", "IMG-NONFINITE", "warn", lambda: without_values(np.inf, 32)),
    voxel_fault("one -infinity", "IMG-NONFINITE", "warn", lambda: without_values(-np.inf, 1)),
    voxel_fault(
        "too many NaN", "IMG-NONFINITE", "refuse", lambda: without_values(np.nan, 33), waivable=True
    ),
    voxel_fault(
        "nothing but NaN",
        "IMG-NONFINITE",
        "refuse",
        lambda: without_values(np.nan, 32000)[:, :1, :4] * np.nan,
    ),
    voxel_fault("one value only", "IMG-CONSTANT", "warn", lambda: voxels_of() * 0 + 7),
    voxel_fault("values past float32", "IMG-RANGE", "refuse", lambda: voxels_of("float64") * 1e37),
    voxel_fault("one slice", "GEO-THIN", "warn", lambda: voxels_of(shape=(8, 9, 1))),
]

FAULTS: list[Fault] = [*BYTES, *HEADER, *VALUES]
