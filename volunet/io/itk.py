"""NRRD and MetaImage through SimpleITK, which hands out zeros for bytes that are missing.

So the bytes are counted first, and their checksum is compared with that of the voxels it hands out.
SimpleITK's axes run (k, j, i) in LPS+ mm; here they are turned to (i, j, k) in RAS+ mm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from isal import isal_zlib
from numpy.typing import NDArray

from volunet.io.geometry import Affine, in_reach, judge_axes, judge_spacing, spans
from volunet.io.header import Header
from volunet.io.inquiry import Inquiry
from volunet.io.itk_bytes import Lying, locate_voxels, read_text_header, sum_voxels
from volunet.io.itk_headers import from_lps
from volunet.space.grid import Grid, Shape
from volunet.space.volume import Volume

VALID = (
    "Set a valid TransformMatrix, Offset and ElementSpacing in MHA, or valid space directions and "
    "space origin in NRRD."
)
READERS = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}


def open_itk(path: Path, kind: str, inquiry: Inquiry, *, channels_in_file: bool) -> Volume:
    """The volume in an NRRD or MetaImage file, its values not yet judged.

    Args:
        kind: "NRRD" or "MetaImage".

    Raises:
        Refused: bytes are missing or damaged, or the geometry is in doubt and not accepted.
    """
    header = read_text_header(path, kind, inquiry)
    lying = locate_voxels(path, kind, header, inquiry)
    crc = sum_voxels(lying, inquiry)
    inquiry.settle()
    try:
        image = sitk.ReadImage(str(path), imageIO=READERS[kind])
    except RuntimeError as error:
        what = str(error).strip().splitlines()[-1]
        raise inquiry.refusal("IO-FORMAT", f"SimpleITK cannot make sense of it: {what}") from error
    stored = sitk.GetArrayFromImage(image)
    if _crc32(stored, big_endian=header.big_endian) != crc:
        raise inquiry.refusal("IO-FAULT", "SimpleITK read other voxels than the file holds.")
    if stored.dtype.kind == "c":
        raise inquiry.refusal("IMG-COMPLEX", f"The voxels are {stored.dtype} numbers.")
    size, parts = image.GetSize(), image.GetNumberOfComponentsPerPixel()
    shape, channels = _shape(size, parts, lying, inquiry, channels_in_file=channels_in_file)
    grid = Grid(shape, _affine(image, shape, inquiry))
    inquiry.settle()
    i, j, k = shape
    if parts > 1:
        return Volume(stored.reshape(k, j, i, channels).transpose(3, 2, 1, 0), grid)
    return Volume(stored.reshape(channels, k, j, i).transpose(0, 3, 2, 1), grid)


def _crc32(voxels: NDArray[Any], *, big_endian: bool) -> int:
    """The CRC-32 of voxels as they lie in a file; they are turned in place, and back."""
    if big_endian:
        voxels.byteswap(inplace=True)
    crc = isal_zlib.crc32(voxels)
    if big_endian:
        voxels.byteswap(inplace=True)
    return crc


def open_itk_header(path: Path, kind: str, inquiry: Inquiry, *, channels_in_file: bool) -> Header:
    """What SimpleITK says of the voxels in an NRRD or MetaImage file, without reading them.

    Raises:
        Refused: the header cannot be read or says more than the file can hold, or the geometry is
            in doubt and not accepted.
    """
    header = read_text_header(path, kind, inquiry)
    lying = locate_voxels(path, kind, header, inquiry)
    with lying.path.open("rb") as file:
        lying.stream(file, inquiry).judge_claim(lying.nbytes)
    inquiry.settle()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(READERS[kind])
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        what = str(error).strip().splitlines()[-1]
        raise inquiry.refusal("IO-FORMAT", f"SimpleITK cannot make sense of it: {what}") from error
    size, parts = reader.GetSize(), reader.GetNumberOfComponents()
    shape, channels = _shape(size, parts, lying, inquiry, channels_in_file=channels_in_file)
    affine = _affine(reader, shape, inquiry)
    inquiry.settle()
    return Header(Grid(shape, affine), channels, lying.dtype, copies=1)


def _shape(
    size: tuple[int, ...], parts: int, lying: Lying, inquiry: Inquiry, *, channels_in_file: bool
) -> tuple[Shape, int]:
    """Voxels along i, j and k, and how many channels there are on a fourth axis or in a voxel."""
    told = " x ".join(map(str, size))
    if len(size) == 2:
        inquiry.note("IMG-2D", f"The scan is a plane of {told} voxels; a slice of it is 1 mm.")
    if parts in (3, 4) and lying.dtype == np.uint8 and not channels_in_file:
        raise inquiry.refusal("IMG-COLOUR", f"The voxels are colours of {parts} parts.")
    further = [n for n in (*size[3:], parts) if n > 1]
    if len(further) > 1 or (further and not channels_in_file):
        of_parts = f" of {parts} parts" if parts > 1 else ""
        raise inquiry.refusal("IMG-AXES", f"The scan is {told} voxels{of_parts}.")
    if not further and len(lying.sizes) > 3:
        inquiry.note("IMG-SQUEEZED", f"Axes of length one were dropped of {lying.sizes}.")
    i, j, k = (*size, 1)[:3]
    return (i, j, k), further[0] if further else 1


def _affine(image: sitk.Image | sitk.ImageFileReader, shape: Shape, inquiry: Inquiry) -> Affine:
    axes, own = image.GetDimension(), min(image.GetDimension(), 3)
    directions, spacing, origin = np.eye(3), np.ones(3), np.zeros(3)  # of a plane's third axis
    directions[:own, :own] = np.reshape(image.GetDirection(), (axes, axes))[:own, :own]
    spacing[:own], origin[:own] = image.GetSpacing()[:own], image.GetOrigin()[:own]
    affine = from_lps(directions, spacing, origin)
    if not in_reach(affine):
        message = "Its origin or directions hold entries that are no millimetres."
        raise inquiry.refusal("GEO-AFFINE", message, advice=VALID)
    if not spans(affine):
        message = "Its directions do not span three axes."
        raise inquiry.refusal("GEO-AFFINE", message, advice=VALID)
    affine = judge_axes(affine, shape, inquiry)
    judge_spacing(affine, shape, inquiry)
    return affine
