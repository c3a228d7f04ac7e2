"""Where the voxels of NRRD and MetaImage files lie, and whether all of their bytes are there.

They are counted against the header and to the end of packed data, as SimpleITK does not (ITK issue
6575).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from volunet.findings import Refused
from volunet.io.inquiry import Inquiry
from volunet.io.itk_headers import (
    HEADER_MOST,
    TextHeader,
    metaimage_type,
    names_a_file,
    nrrd_type,
    parse_metaimage,
    parse_nrrd,
)
from volunet.io.nifti_bytes import Stream

SPACES = {"left-posterior-superior", "lps", "right-anterior-superior", "ras"}
SPACES |= {"left-anterior-superior", "las"}
"""Spaces of NRRD that SimpleITK brings to LPS; any other it takes for LPS as it is."""

OF_PLACE = {"domain", "space", "time", "none", "???"}
"""Kinds of an NRRD's axes along which the scan lies; others are those of what a voxel holds."""

PLACED = "Set the space to left-posterior-superior or another with sides, and space directions."
"""Advice on an NRRD that does not tell where it lies."""

DETACHED = re.compile(rb"^data ?file:", re.IGNORECASE | re.MULTILINE)
"""The field of an NRRD header that has its voxels elsewhere."""
ELSEWHERE = "The voxels lie in another file. Save it as one .nrrd."

MOST_AXES = 5
"""Axes that SimpleITK takes."""
MOST_LETTERS = 500
"""Letters of an NRRD's line; it has some 1000 for the message that repeats a line."""


def read_text_header(path: Path, kind: str, inquiry: Inquiry) -> TextHeader:
    """The header of an NRRD or MetaImage file.

    Raises:
        Refused: it has no end, or its voxels lie in another file.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_MOST)
    header = (parse_nrrd if kind == "NRRD" else parse_metaimage)(head)
    if header is None and DETACHED.search(head):  # which may end with its last line
        raise inquiry.refusal("IO-FORMAT", ELSEWHERE)
    if header is None:
        raise inquiry.refusal("IO-TRUNC", f"The {kind} header has no end.")
    return header


MANY_CHANNELS = 16
"""A first axis of four that is shorter than this is one of channels."""


@dataclass(frozen=True, slots=True)
class Lying:
    """How the voxels lie in a file, which may be another than that of their header.

    Args:
        start: of the first one in the file, in bytes.
        sizes: of the axes, fastest first, those of channels among them.
        dtype: of a number.
        zlib: they are packed as such, gzip shows by itself.
    """

    path: Path
    start: int
    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    packed: bool
    zlib: bool = False

    @property
    def nbytes(self) -> int:
        """Plain bytes of all voxels."""
        return prod(self.sizes) * self.dtype.itemsize

    @property
    def slice_bytes(self) -> int:
        """Plain bytes of one slice; of all channels, where these come first."""
        first = len(self.sizes) > 3 and self.sizes[0] < MANY_CHANNELS
        return prod(self.sizes[: 3 if first else 2]) * self.dtype.itemsize

    def stream(self, file: BinaryIO, inquiry: Inquiry) -> Stream:
        """The plain bytes.

        Raises:
            Refused: they are not packed as the header says.
        """
        stream = Stream(file, inquiry, start=self.start, zlib=self.zlib)
        if self.packed and not stream.packed:
            raise inquiry.refusal("IO-CRC", "The packed voxels do not begin as gzip does.")
        return stream


def locate_voxels(path: Path, kind: str, header: TextHeader, inquiry: Inquiry) -> Lying:
    """Where the voxels lie, once nothing in the header speaks against reading them.

    Raises:
        Refused: they cannot be read. What can be waived is noted.
    """
    try:
        return (_check_nrrd if kind == "NRRD" else _check_metaimage)(path, header, inquiry)
    except Refused:
        raise
    except (ValueError, OverflowError) as error:
        raise inquiry.refusal("IO-FORMAT", f"The {kind} header cannot be read: {error}.") from error


def _check_nrrd(path: Path, header: TextHeader, inquiry: Inquiry) -> Lying:
    fields = header.fields
    if header.longest > MOST_LETTERS:
        # where SimpleITK cannot make sense of such a line, the process dies telling so
        message = f"A line of the NRRD header has {header.longest} letters."
        advice = f"Write it again with lines of at most {MOST_LETTERS}; remarks may be longer."
        raise inquiry.refusal("IO-FORMAT", message, advice=advice)
    if {"datafile", "byteskip", "lineskip"} & fields.keys():
        raise inquiry.refusal("IO-FORMAT", ELSEWHERE)
    if fields.get("encoding") not in ("raw", "gzip", "gz"):
        raise inquiry.refusal(
            "IO-FORMAT", f"NRRD encoding {fields.get('encoding')!r} is not read; save it as gzip."
        )
    dtype = _known(nrrd_type(fields.get("type", "")), fields.get("type", ""), inquiry)
    sizes = _counted(header.numbers("sizes"), inquiry)
    _judge_kinds(fields.get("kinds", "").lower().split(), sizes, inquiry)
    known = [mm for mm in header.numbers("spacings") if np.isfinite(mm) and mm > 0]
    if "spacedirections" not in fields and len(known) < min(len(sizes), 3):
        _note_no_spacing(inquiry, "spacings or space directions")
    if "space" not in fields or "spacedirections" not in fields:
        what = "The header has not both space and space directions; LPS is taken."
        inquiry.note("GEO-NOFORM", what, advice=PLACED)
    elif (space := fields["space"].strip(' "').lower()) not in SPACES:
        _judge_space(space, inquiry)
    units = set(fields.get("spaceunits", "").replace('"', " ").split())
    if units - {"mm", "millimeter", "millimetre", "none"}:
        inquiry.note("GEO-UNITS-ODD", f"The space units are {', '.join(sorted(units))}, not mm.")
    return Lying(path, header.length, sizes, dtype, packed=fields["encoding"] != "raw")


def _judge_kinds(kinds: Sequence[str], sizes: Sequence[int], inquiry: Inquiry) -> None:
    """Refuses channels on another axis than the first, which SimpleITK sorts anew.

    Raises:
        Refused: there are some.
    """
    for place, (kind, size) in enumerate(zip(kinds, sizes, strict=False)):
        if place and size > 1 and kind not in OF_PLACE:
            message = f"Axis {place + 1} of {len(sizes)} holds channels (its kind is {kind!r})."
            advice = "Store channels on the first axis, or as one file each."
            raise inquiry.refusal("IMG-AXES", message, advice=advice)


def _judge_space(space: str, inquiry: Inquiry) -> None:
    """Notes that a space names no sides, for which SimpleITK then takes LPS.

    Raises:
        Refused: it names sides that SimpleITK would take for others.
    """
    if space.endswith("-time") or space.endswith("t"):
        advice = "Save it with the space right-anterior-superior, without an axis of time."
        raise inquiry.refusal("IO-FORMAT", f"The NRRD space {space!r} is not read.", advice=advice)
    what = f"The space {space!r} names no sides; LPS is taken."
    inquiry.note("GEO-NOFORM", what, advice=PLACED)


def _check_metaimage(path: Path, header: TextHeader, inquiry: Inquiry) -> Lying:
    fields = header.fields
    data = fields["elementdatafile"]
    if not names_a_file(data):
        message = f"The voxels must lie in a file beside the header, not in {data!r}."
        raise inquiry.refusal("IO-FORMAT", message)
    if fields.get("headersize", "0") != "0" or fields.get("binarydata", "true").lower() != "true":
        raise inquiry.refusal("IO-FORMAT", "MetaImage as text, or with a header of its own.")
    spacing = header.numbers("elementspacing") or header.numbers("elementsize")
    if not spacing:
        _note_no_spacing(inquiry, "ElementSpacing")
    if not all(np.isfinite(mm) and mm > 0 for mm in spacing):
        raise inquiry.refusal("GEO-SPACING", f"ElementSpacing is {spacing}.")
    if not {"transformmatrix", "rotation", "orientation"} & fields.keys():
        what = "The header has no TransformMatrix; LPS is taken."
        inquiry.note("GEO-NOFORM", what, advice="Set TransformMatrix.")
    name = fields.get("elementtype", "")
    dtype = _known(metaimage_type(name), name, inquiry)
    sizes = _counted(header.numbers("dimsize"), inquiry)
    if header.numbers("ndims") != [len(sizes)] or len(sizes) > MOST_AXES:
        # MetaIO writes past the end of its arrays, and the process dies
        message = f"NDims is {fields.get('ndims', 'missing')}, and DimSize has {len(sizes)} sizes."
        raise inquiry.refusal("NII-DIM", message)
    parts = _counted(header.numbers("elementnumberofchannels"), inquiry, least=0)
    sizes += tuple(n for n in parts if n > 1)
    local = data.upper() == "LOCAL"
    voxels = path if local else path.with_name(data)
    if not voxels.is_file():
        raise inquiry.refusal("IO-MISSING", f"The voxels should lie in {data}, which is not there.")
    zlib = fields.get("compresseddata", "false").lower() == "true"
    start = header.length if local else 0
    return Lying(voxels, start, sizes, dtype, packed=zlib, zlib=zlib)


def _note_no_spacing(inquiry: Inquiry, field: str) -> None:
    """SimpleITK would take 1 mm without a word."""
    inquiry.note(
        "GEO-SPACING",
        f"The header has no usable {field}.",
        advice="Set the true spacing, or accept GEO-SPACING to take 1 mm.",
    )


def _known(dtype: np.dtype[Any] | None, name: str, inquiry: Inquiry) -> np.dtype[Any]:
    if dtype is None:
        raise inquiry.refusal("NII-DTYPE", f"Data type {name!r} is not read.")
    return dtype


def _counted(sizes: list[float], inquiry: Inquiry, *, least: int = 2) -> tuple[int, ...]:
    """The sizes of axes, of which there must be some."""
    if len(sizes) < least or not all(n >= 1 and float(n).is_integer() for n in sizes):
        raise inquiry.refusal("NII-DIM", f"The sizes are {sizes}.")
    return tuple(map(int, sizes))


def sum_voxels(lying: Lying, inquiry: Inquiry) -> int:
    """The CRC-32 of the voxels' bytes, read to their end and as many as the header says.

    Raises:
        Refused: bytes are missing or damaged.
    """
    with lying.path.open("rb") as file:
        stream = lying.stream(file, inquiry)
        stream.judge_claim(lying.nbytes)
        got, crc = stream.checksum(lying.nbytes)
        if got < lying.nbytes:
            raise stream.lacking(lying.nbytes, got)
        stream.judge_rest(lying.slice_bytes)
    return crc
