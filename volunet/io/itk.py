"""NRRD and MetaImage through SimpleITK, which hands out zeros for bytes that are missing.

So the bytes are counted first, and their checksum is compared with that of the voxels it hands out.
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

from volunet.io.geometry import Affine, judge_axes, judge_spacing, spans
from volunet.io.header import Header
from volunet.io.inquiry import Inquiry
from volunet.io.itk_bytes import locate_voxels, read_text_header, sum_voxels
from volunet.io.itk_headers import from_lps
from volunet.space.grid import Grid
from volunet.space.volume import Volume

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
    if isal_zlib.crc32(stored.byteswap() if header.big_endian else stored) != crc:
        raise inquiry.refusal("IO-FAULT", "SimpleITK read other voxels than the file holds.")
    voxels = _voxels(stored, image, inquiry, channels_in_file=channels_in_file)
    affine = _affine(image, voxels.shape[1:], inquiry)
    inquiry.settle()
    return Volume(voxels, Grid(voxels.shape[1:], affine))


def open_itk_header(path: Path, kind: str, inquiry: Inquiry) -> Header:
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
    if len(size) == 2:
        raise inquiry.refusal("IMG-2D", "The scan is a plane.", advice="Give a volume.")
    shape = (size[0], size[1], size[2])
    affine = _affine(reader, shape, inquiry)
    inquiry.settle()
    return Header(Grid(shape, affine), parts * prod(size[3:]), lying.dtype, copies=1)


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
