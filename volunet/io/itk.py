"""NRRD and MetaImage through SimpleITK, which hands out zeros for bytes that are missing.

So the bytes are counted first, against the header and to the end of packed data (ITK issue 6575),
and their checksum is compared with that of the voxels it hands out.
SimpleITK's axes run (k, j, i) in LPS+ mm; here they are turned to (i, j, k) in RAS+ mm.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from isal import isal_zlib
from numpy.typing import NDArray

from volunet.findings import Refused
from volunet.io.geometry import Affine, judge_axes, judge_spacing, spans
from volunet.io.header import Header
from volunet.io.inquiry import Inquiry
from volunet.io.itk_headers import (
    HEADER_MOST,
    TextHeader,
    count_bytes,
    from_lps,
    metaimage_type,
    nrrd_type,
    parse_metaimage,
    parse_nrrd,
)
from volunet.io.nifti_bytes import RATIO, Stream
from volunet.space.grid import Grid
from volunet.space.volume import Volume

READERS = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}

SPACES = {"left-posterior-superior", "lps", "right-anterior-superior", "ras"}
SPACES |= {"left-anterior-superior", "las"}
"""Spaces of NRRD that SimpleITK brings to LPS; any other it takes for LPS as it is."""


def open_itk(path: Path, kind: str, inquiry: Inquiry, *, channels_in_file: bool) -> Volume:
    """The volume in an NRRD or MetaImage file, its values not yet judged.

    Args:
        kind: "NRRD" or "MetaImage".

    Raises:
        Refused: bytes are missing or damaged, or the geometry is in doubt and not accepted.
    """
    header = _header(path, kind, inquiry)
    try:
        crc = (_check_nrrd if kind == "NRRD" else _check_metaimage)(path, header, inquiry)
    except Refused:
        raise
    except (ValueError, OverflowError) as error:
        raise inquiry.refusal("IO-FORMAT", f"The {kind} header cannot be read: {error}.") from error
    inquiry.settle()
    try:
        image = sitk.ReadImage(str(path), imageIO=READERS[kind])
    except RuntimeError as error:
        what = str(error).strip().splitlines()[-1]
        raise inquiry.refusal("IO-FORMAT", f"SimpleITK cannot make sense of it: {what}") from error
    stored = sitk.GetArrayFromImage(image)
    if isal_zlib.crc32(stored.byteswap() if header.big_endian else stored) != crc:
        raise inquiry.refusal("IO-FAULT", "SimpleITK read other voxels than the file holds.")
    voxels = _voxels(stored, image, inquiry, channels_in_file=channels_in_file)
    affine = _affine(image, voxels.shape[1:], inquiry)
    inquiry.settle()
    return Volume(voxels, Grid(voxels.shape[1:], affine))


def open_itk_header(path: Path, kind: str, inquiry: Inquiry) -> Header:
    """What SimpleITK says of the voxels in an NRRD or MetaImage file, without reading them.

    Raises:
        Refused: the header cannot be read, or the geometry is in doubt and not accepted.
    """
    fields = _header(path, kind, inquiry).fields
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(READERS[kind])
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        what = str(error).strip().splitlines()[-1]
        raise inquiry.refusal("IO-FORMAT", f"SimpleITK cannot make sense of it: {what}") from error
    size, parts = reader.GetSize(), reader.GetNumberOfComponents()
    if len(size) == 2:
        raise inquiry.refusal("IMG-2D", "The scan is a plane.", advice="Give a volume.")
    name = fields.get("type" if kind == "NRRD" else "elementtype", "")
    dtype = (nrrd_type if kind == "NRRD" else metaimage_type)(name)
    if dtype is None:
        raise inquiry.refusal("NII-DTYPE", f"Data type {name!r} is not read.")
    shape = (size[0], size[1], size[2])
    affine = _affine(reader, shape, inquiry)
    inquiry.settle()
    return Header(Grid(shape, affine), parts * prod(size[3:]), dtype, copies=1)


def _header(path: Path, kind: str, inquiry: Inquiry) -> TextHeader:
    with path.open("rb") as file:
        head = file.read(HEADER_MOST)
    header = (parse_nrrd if kind == "NRRD" else parse_metaimage)(head)
    if header is None:
        raise inquiry.refusal("IO-TRUNC", f"The {kind} header has no end.")
    return header


def _check_nrrd(path: Path, header: TextHeader, inquiry: Inquiry) -> int:
    """The CRC-32 of the voxels' bytes, once nothing speaks against reading them."""
    fields = header.fields
    if {"datafile", "byteskip", "lineskip"} & fields.keys():
        raise inquiry.refusal("IO-FORMAT", "The voxels lie in another file. Save it as one .nrrd.")
    if fields.get("encoding") not in ("raw", "gzip", "gz"):
        raise inquiry.refusal(
            "IO-FORMAT", f"NRRD encoding {fields.get('encoding')!r} is not read; save it as gzip."
        )
    dtype = nrrd_type(fields.get("type", ""))
    expected = _expected(header.numbers("sizes"), dtype, fields.get("type", ""), inquiry)
    known = [mm for mm in header.numbers("spacings") if np.isfinite(mm) and mm > 0]
    if "spacedirections" not in fields and len(known) < 3:
        _note_no_spacing(inquiry, "spacings or space directions")
    if "space" not in fields or "spacedirections" not in fields:
        inquiry.note("GEO-NOFORM", "The header has no space and space directions.")
    elif (space := fields["space"].strip(' "').lower()) not in SPACES:
        _judge_space(space, inquiry)
    units = set(fields.get("spaceunits", "").replace('"', " ").split())
    if units - {"mm", "millimeter", "millimetre", "none"}:
        inquiry.note("GEO-UNITS-ODD", f"The space units are {', '.join(sorted(units))}, not mm.")
    packed = fields["encoding"] != "raw"
    return _count(path, header.length, expected, inquiry, packed=packed, zlib=False)


def _judge_space(space: str, inquiry: Inquiry) -> None:
    """Notes that a space names no sides, for which SimpleITK then takes LPS.

    Raises:
        Refused: it names sides that SimpleITK would take for others.
    """
    if space.endswith("-time") or space.endswith("t"):
        advice = "Save it with the space right-anterior-superior, without an axis of time."
        raise inquiry.refusal("IO-FORMAT", f"The NRRD space {space!r} is not read.", advice=advice)
    inquiry.note("GEO-NOFORM", f"The space {space!r} names no sides; LPS is taken.")


def _check_metaimage(path: Path, header: TextHeader, inquiry: Inquiry) -> int:
    """The CRC-32 of the voxels' bytes, once nothing speaks against reading them."""
    fields = header.fields
    data = fields["elementdatafile"]
    if data.upper() != "LOCAL" and Path(data).name != data:
        raise inquiry.refusal("IO-FORMAT", f"The voxels must lie beside the header, not at {data}.")
    if fields.get("headersize", "0") != "0" or fields.get("binarydata", "true").lower() != "true":
        raise inquiry.refusal("IO-FORMAT", "MetaImage as text, or with a header of its own.")
    spacing = header.numbers("elementspacing") or header.numbers("elementsize")
    if not spacing:
        _note_no_spacing(inquiry, "ElementSpacing")
    if not all(np.isfinite(mm) and mm > 0 for mm in spacing):
        raise inquiry.refusal("GEO-SPACING", f"ElementSpacing is {spacing}.")
    if not {"transformmatrix", "rotation", "orientation"} & fields.keys():
        inquiry.note("GEO-NOFORM", "The header has no TransformMatrix.")
    name = fields.get("elementtype", "")
    channels = header.numbers("elementnumberofchannels") or [1]
    sizes = header.numbers("dimsize")
    expected = _expected(sizes + channels if sizes else [], metaimage_type(name), name, inquiry)
    local = data.upper() == "LOCAL"
    voxels = path if local else path.with_name(data)
    if not voxels.is_file():
        raise inquiry.refusal("IO-MISSING", f"The voxels should lie in {data}, which is not there.")
    zlib = fields.get("compresseddata", "false").lower() == "true"
    start = header.length if local else 0
    return _count(voxels, start, expected, inquiry, packed=zlib, zlib=zlib)


def _note_no_spacing(inquiry: Inquiry, field: str) -> None:
    """SimpleITK would take 1 mm without a word."""
    inquiry.note(
        "GEO-SPACING",
        f"The header has no usable {field}.",
        advice="Set the true spacing, or accept GEO-SPACING to take 1 mm.",
    )


def _expected(sizes: list[float], dtype: np.dtype[Any] | None, name: str, inquiry: Inquiry) -> int:
    if dtype is None:
        raise inquiry.refusal("NII-DTYPE", f"Data type {name!r} is not read.")
    if len(sizes) < 2 or not all(n >= 1 and float(n).is_integer() for n in sizes):
        raise inquiry.refusal("NII-DIM", f"The sizes are {sizes}.")
    return count_bytes(sizes, dtype)


def _count(
    path: Path, start: int, expected: int, inquiry: Inquiry, *, packed: bool, zlib: bool
) -> int:
    """The CRC-32 of the voxels' bytes, read to their end and as many as the header says."""
    with path.open("rb") as file:
        stream = Stream(file, inquiry, start=start, zlib=zlib)
        if expected > max(stream.size, 1) * RATIO:
            message = f"The header claims {expected} bytes in a file of {stream.size}."
            raise inquiry.refusal("IO-BOMB", message, claimed=expected, size=stream.size)
        if packed and not stream.packed:
            raise inquiry.refusal("IO-CRC", "The packed voxels do not begin as gzip does.")
        got, crc = stream.checksum(expected)
        if got < expected:
            message = f"The voxels take {expected} bytes, the file holds {got} of them."
            raise inquiry.refusal("IO-TRUNC", message, expected=expected, got=got)
        if left := stream.finish():
            inquiry.note("IO-TRAILING", f"{left} bytes follow the voxels.", left=left)
    return crc


def _voxels(
    stored: NDArray[Any], image: sitk.Image, inquiry: Inquiry, *, channels_in_file: bool
) -> NDArray[Any]:
    """SimpleITK's array as (C, I, J, K)."""
    parts, axes = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    if stored.dtype.kind == "c":
        raise inquiry.refusal("IMG-COMPLEX", f"The voxels are {stored.dtype} numbers.")
    if axes == 2:
        raise inquiry.refusal("IMG-2D", "The scan is a plane.", advice="Give a volume.")
    size = " x ".join(map(str, image.GetSize()))
    if parts in (3, 4) and stored.dtype == np.uint8 and not channels_in_file:
        raise inquiry.refusal("IMG-COLOUR", f"The voxels are colours of {parts} parts.")
    if parts > 1 and (axes > 3 or not channels_in_file):
        raise inquiry.refusal("IMG-AXES", f"The scan is {size} voxels of {parts} parts.")
    if axes == 4 and stored.shape[0] > 1 and not channels_in_file:
        raise inquiry.refusal("IMG-AXES", f"The scan is {size} voxels.")
    if axes > 4:
        raise inquiry.refusal("IMG-AXES", f"The scan is {size} voxels.")
    if parts > 1:
        stored = np.moveaxis(stored, -1, 0)
    elif axes == 3:
        stored = stored[None]
    return np.transpose(stored, (0, 3, 2, 1))


def _affine(
    image: sitk.Image | sitk.ImageFileReader, shape: tuple[int, int, int], inquiry: Inquiry
) -> Affine:
    axes = image.GetDimension()
    directions = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
    spacing, origin = np.array(image.GetSpacing())[:3], np.array(image.GetOrigin())[:3]
    affine = from_lps(directions, spacing, origin)
    if not np.isfinite(affine).all() or not spans(affine):
        raise inquiry.refusal("GEO-AFFINE", "Its directions do not span three axes.")
    affine = judge_axes(affine, shape, inquiry)
    judge_spacing(affine, shape, inquiry)
    return affine
