"""Bad files, made one at a time from one good scan, each with the code that it must be met with.

`FAULTS` follows the tables of what goes wrong with bytes, headers, geometry and labels. A fault
says what reading must find ("refuse", "warn" or "info"; "fine" where it must find nothing), and
whether a caller can waive the refusal.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nibabel import Nifti1Header, Nifti2Header
from numpy.typing import NDArray

Verdict = Literal["refuse", "warn", "info", "fine"]
Role = Literal["image", "labels"]
Change = Callable[[Any], None]

SHAPE = (8, 9, 10)
SPACING = (1.5, 2.0, 3.0)
AFFINE = np.array(
    [[-1.5, 0, 0, 20], [0, 2.0, 0, -30], [0, 0, 3.0, 40], [0, 0, 0, 1]], dtype=np.float64
)


@dataclass(frozen=True)
class Fault:
    """A bad file and how it must be met.

    Args:
        name: what is wrong, in words.
        code: the finding's code, "" for "fine".
        verdict: its severity.
        build: writes the file into a folder and returns its path.
        role: what the file is read as.
        waivable: whether accepting the code lets the reading go on.
    """

    name: str
    code: str
    verdict: Verdict
    build: Callable[[Path], Path]
    role: Role = "image"
    waivable: bool = False

    def __str__(self) -> str:
        return self.name


def voxels_of(dtype: str = "int16", shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    """Values that differ from voxel to voxel, -300 to 419 in the usual shape, 0 to 255 in uint8."""
    ramp = np.arange(np.prod(shape), dtype=np.float64).reshape(shape, order="F")
    return (ramp % 256 if dtype == "uint8" else ramp - 300).astype(dtype)


def header_of(
    voxels: NDArray[Any], *, version: int = 1, order: str = "<", affine: NDArray[Any] = AFFINE
) -> Any:
    """A sound header for these voxels: both forms set and equal, mm, no scaling."""
    header = (Nifti1Header if version == 1 else Nifti2Header)(endianness=order)
    header.set_data_dtype(voxels.dtype.newbyteorder(order))
    header.set_data_shape(voxels.shape)
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm", "sec")
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = 352 if version == 1 else 544
    return header


def raw_of(
    voxels: NDArray[Any],
    change: Change = lambda header: None,
    *,
    version: int = 1,
    order: str = "<",
    affine: NDArray[Any] = AFFINE,
) -> bytes:
    """The plain bytes of a NIfTI file whose header was changed."""
    header = header_of(voxels, version=version, order=order, affine=affine)
    change(header)
    stored = voxels.astype(voxels.dtype.newbyteorder(order))
    return bytes(header.binaryblock) + bytes(4) + stored.tobytes(order="F")


def keep(folder: Path, name: str, content: bytes) -> Path:
    """The bytes under a name in the folder."""
    path = folder / name
    path.write_bytes(content)
    return path


def gz(content: bytes) -> bytes:
    """The bytes packed with gzip by Python's own module, always to the same bytes."""
    return gzip.compress(content, mtime=0)


def bytes_fault(
    name: str, code: str, verdict: Verdict, file: str, content: Callable[[], bytes], **more: Any
) -> Fault:
    """A fault in the bytes of a file."""
    return Fault(name, code, verdict, lambda folder: keep(folder, file, content()), **more)


def header_fault(
    name: str,
    code: str,
    verdict: Verdict,
    change: Change,
    *,
    voxels: Callable[[], NDArray[Any]] = voxels_of,
    packed: bool = True,
    role: Role = "image",
    waivable: bool = False,
) -> Fault:
    """A fault in the header of a scan, which is packed unless said otherwise."""

    def build(folder: Path) -> Path:
        raw = raw_of(voxels(), change)
        return keep(folder, "scan.nii.gz" if packed else "scan.nii", gz(raw) if packed else raw)

    return Fault(name, code, verdict, build, role=role, waivable=waivable)


def voxel_fault(
    name: str, code: str, verdict: Verdict, voxels: Callable[[], NDArray[Any]], **more: Any
) -> Fault:
    """A fault in the voxels of a scan whose header is sound."""
    return header_fault(name, code, verdict, lambda header: None, voxels=voxels, **more)


def setting(**fields: Any) -> Change:
    """A change that sets header fields; a dict sets single entries of a field."""

    def change(header: Any) -> None:
        for name, value in fields.items():
            if isinstance(value, dict):
                for at, entry in value.items():
                    header[name][at] = entry
            else:
                header[name] = value

    return change
