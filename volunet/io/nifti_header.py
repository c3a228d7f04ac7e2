"""A NIfTI header: which voxels follow, of what type and scale, and what about it is wrong.

nibabel takes the header apart; none of its own checks and repairs are used, as they are silent.
Source: the NIfTI-1 and NIfTI-2 definitions (nifti1.h, nifti2.h; https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from nibabel import Nifti1Header, Nifti2Header
from nibabel.nifti1 import data_type_codes

from volunet.findings import Severity
from volunet.io.inquiry import Inquiry

Header: TypeAlias = Any  # one of nibabel's two, which carry no types
BYTES = {"NIfTI-1": 348, "NIfTI-2": 540}
FIRST_OFFSET = {"NIfTI-1": 352, "NIfTI-2": 544}
COLOUR = {128: "RGB", 2304: "RGBA"}
COMPLEX = {32: "complex64", 1792: "complex128", 2048: "complex256"}
READ = {2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280}
"""Data types of one number a voxel, of at most 64 bits."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the voxels lie in the file.

    Args:
        shape: (I, J, K), or (I, J, K, C) where the file holds channels.
        dtype: with its byte order.
        offset: plain bytes before the first voxel.
        scale: slope and intercept, None where the stored numbers are the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    scale: tuple[float, float] | None

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse(block: bytes, kind: str, inquiry: Inquiry) -> Header:
    """The header in the first bytes of a NIfTI file, nothing about it judged but its length.

    Args:
        kind: "NIfTI-1" or "NIfTI-2".

    Raises:
        Refused: there are fewer bytes than a header has.
    """
    need = BYTES[kind]
    if len(block) < need:
        raise inquiry.refusal(
            "IO-TRUNC",
            f"A header takes {need} bytes, the file holds {len(block)}.",
            expected=need,
            got=len(block),
        )
    order = _byte_order(block, kind)
    header = Nifti1Header if kind == "NIfTI-1" else Nifti2Header
    parsed = header(block[:need], endianness=order, check=False)
    if int(parsed["sizeof_hdr"]) != need:
        inquiry.note("NII-HEADER", f"sizeof_hdr is {int(parsed['sizeof_hdr'])} and not {need}.")
    return parsed


def layout(header: Header, kind: str, inquiry: Inquiry, *, channels_in_file: bool) -> Layout:
    """How the voxels lie in the file; what can be waived is noted, the rest refused.

    Raises:
        Refused: dimensions, data type or start of the voxels that cannot be read.
    """
    shape = _shape(header, inquiry, channels_in_file=channels_in_file)
    dtype = _dtype(header, inquiry)
    offset = _offset(header, kind, inquiry)
    return Layout(shape, dtype, offset, _scale(header, inquiry))


def _byte_order(block: bytes, kind: str) -> str:
    """The sign for numpy, told by the header's own length, else by the number of dimensions."""
    if int.from_bytes(block[:4], "little") == BYTES[kind]:
        return "<"
    if int.from_bytes(block[:4], "big") == BYTES[kind]:
        return ">"
    at, width = (40, 2) if kind == "NIfTI-1" else (16, 8)
    return "<" if 1 <= int.from_bytes(block[at : at + width], "little") <= 7 else ">"


def _shape(header: Header, inquiry: Inquiry, *, channels_in_file: bool) -> tuple[int, ...]:
    dims = [int(n) for n in header["dim"]]
    rank = dims[0]
    if not 2 <= rank <= 7 or min(dims[1 : rank + 1]) < 1:
        raise inquiry.refusal("NII-DIM", f"dim is {dims}; a volume has three axes of some voxels.")
    sizes = tuple(dims[1 : rank + 1])
    if rank == 2:
        inquiry.note("IMG-2D", f"The scan is a plane of {sizes[0]} x {sizes[1]} voxels.")
        return (*sizes, 1)
    further = [n for n in sizes[3:] if n > 1]
    if not further:
        if rank > 3:
            inquiry.note("IMG-SQUEEZED", f"The axes of {sizes} behind the third were dropped.")
        return sizes[:3]
    if not channels_in_file or len(further) > 1:
        raise inquiry.refusal("IMG-AXES", f"The scan is {' x '.join(map(str, sizes))} voxels.")
    return (*sizes[:3], further[0])


def _dtype(header: Header, inquiry: Inquiry) -> np.dtype[Any]:
    code = int(header["datatype"])
    if code in COLOUR:
        raise inquiry.refusal("IMG-COLOUR", f"The voxels are {COLOUR[code]} colours.")
    if code in COMPLEX:
        raise inquiry.refusal("IMG-COMPLEX", f"The voxels are {COMPLEX[code]} numbers.")
    if code not in READ:
        known = data_type_codes.label.get(code, "unknown") if code else "unknown"
        raise inquiry.refusal("NII-DTYPE", f"Data type {code} ({known}) is not read.")
    dtype: np.dtype[Any] = np.dtype(data_type_codes.dtype[code]).newbyteorder(header.endianness)
    if int(header["bitpix"]) != dtype.itemsize * 8:
        inquiry.note(
            "NII-HEADER",
            f"bitpix is {int(header['bitpix'])} and not the {dtype.itemsize * 8} of {dtype.name}.",
        )
    return dtype


def _offset(header: Header, kind: str, inquiry: Inquiry) -> int:
    offset, first = float(header["vox_offset"]), FIRST_OFFSET[kind]
    if not math.isfinite(offset) or not offset.is_integer() or offset < first:
        raise inquiry.refusal(
            "NII-OFFSET", f"The voxels are said to start at byte {offset:g}, before {first}."
        )
    return int(offset)


def _scale(header: Header, inquiry: Inquiry) -> tuple[float, float] | None:
    """Slope and intercept where they change the stored numbers."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope != 0 and not math.isfinite(slope):
        inquiry.note("IMG-SCALE-IGNORED", f"scl_slope is {slope}; the stored numbers are taken.")
        return None
    if not math.isfinite(inter) or (slope == 0 and inter != 0):
        inquiry.note(
            "IMG-SCALE",
            f"scl_slope {slope:g} with scl_inter {inter:g} means different values to different "
            "readers.",
            severity=Severity.REFUSE,
            advice="Write the file again without scaling, or accept IMG-SCALE to take the "
            "stored numbers.",
        )
        return None
    return None if slope == 0 or (slope, inter) == (1, 0) else (slope, inter)
