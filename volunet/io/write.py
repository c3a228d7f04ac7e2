"""Write volumes: complete, read back and only then under their name, or not at all.

NIfTI-1 with both forms set and equal, no scaling, lengths in mm and no free text. Label maps
(unsigned or boolean voxels) take the smallest unsigned type and the intent LABEL (1002), other
integers the smallest type that holds them, all else float32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from nibabel import Nifti1Header
from numpy.typing import NDArray

from volunet.errors import GeometryError, ShapeError, WriteError
from volunet.findings import Refused
from volunet.io.atomic import differs, write_bytes
from volunet.io.geometry import ROUNDING_RAD, shear_rad
from volunet.io.inquiry import Inquiry
from volunet.io.itk_headers import metaimage_pieces, nrrd_pieces, packed
from volunet.io.names import suffix
from volunet.io.nifti_bytes import Stream
from volunet.io.nifti_geometry import affine_of
from volunet.io.nifti_header import FIRST_OFFSET, layout, parse
from volunet.io.nifti_voxels import FLOAT32_MAX
from volunet.io.scan import open_volume
from volunet.io.sniff import HEAD
from volunet.io.write_png import write_png
from volunet.space.volume import Volume

LABEL_INTENT = 1002
LONGEST_AXIS = 32767
PIECE = 1 << 22
GZIP_WBITS = 31


def write(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    colours: Mapping[int, str] | None = None,
    labels: bool | None = None,
) -> Path:
    """Write a volume as .nii.gz, .nii, .nrrd, .mha or .png; an earlier file of that name is
    replaced.

    Args:
        volume: several channels become the fourth axis of a NIfTI file, three of them the colours
            of a PNG, which takes what lies on the grid of a picture only.
        path: its folder must exist.
        colours: in a PNG the "#rrggbb" that each value is shown in.
        labels: whether this is a label map; by default what is unsigned or boolean is. Unsigned
            voxels of all else keep their type.

    Returns:
        The path.

    Raises:
        WriteError: the ending is not one of these, the disk is full, or what was read back is not
            what was written. Nothing is left under the name that was not there before.
        GeometryError: the axes are not at right angles, so that no reader would agree on them; or
            the volume is no picture, which a PNG would not tell.
        ShapeError: several channels for .nrrd or .mha, an axis too long for NIfTI-1, or voxels
            that are not real numbers of float32's range, or no numbers of a PNG.
    """
    return write_announced(volume, Path(path), colours=colours, labels=labels)


def write_announced(
    volume: Volume,
    path: Path,
    *,
    colours: Mapping[int, str] | None = None,
    labels: bool | None = None,
    announce: Callable[[Path], None] = lambda part: None,
) -> Path:
    """As `write`, telling of a file that is complete and read back just before it gets its name.

    Args:
        announce: is given the temporary file.
    """
    kind = suffix(path)
    if kind == ".png":
        kept = labels is False
        return write_png(volume, path, colours=colours or {}, keep_type=kept, announce=announce)
    if kind not in (".nii.gz", ".nii", ".nrrd", ".mha"):
        raise WriteError(
            f"{path.name} was not written: name it .nii.gz, .nii, .nrrd, .mha or .png."
        )
    _judge(volume, path, kind)
    voxels = stored_voxels(volume.voxels)
    stored = volume.with_voxels(voxels)
    is_label_map = volume.voxels.dtype.kind in "bu" if labels is None else labels
    tally = Tally()
    if kind.startswith(".nii"):
        pieces = tally.counted(nifti_pieces(stored, is_label_map=is_label_map))
        content = packed(pieces, wbits=GZIP_WBITS) if kind == ".nii.gz" else pieces
    else:
        around = metaimage_pieces if kind == ".mha" else nrrd_pieces
        content = around(stored, planes(voxels[0]))

    def verify(part: Path) -> None:
        if kind.startswith(".nii"):
            _read_back_nifti(part, stored, tally)
        else:
            _read_back(part, stored)
        announce(part)

    return write_bytes(path, content, verify=verify)


def stored_voxels(voxels: NDArray[Any]) -> NDArray[Any]:
    """The voxels in the type that they are stored in, little-endian.

    Raises:
        ShapeError: they are not real numbers, or pass the range of float32.
    """
    if voxels.dtype.kind not in "buif":
        raise ShapeError(f"Voxels of type {voxels.dtype} cannot be stored; give real numbers.")
    if voxels.dtype.kind == "b":
        return voxels.view(np.uint8)
    low, high = voxels.min(), voxels.max()
    if voxels.dtype.kind == "f":
        if max(-low, high) > FLOAT32_MAX and np.isfinite([low, high]).all():
            raise ShapeError(f"Values from {low:.3g} to {high:.3g} pass the range of float32.")
        return voxels.astype("<f4", copy=False)
    kind = np.min_scalar_type(high) if low >= 0 else _signed(int(low), int(high))
    return voxels.astype(kind.newbyteorder("<"), copy=False)


def _signed(low: int, high: int) -> np.dtype[Any]:
    """The smallest signed type of at least 16 bits; few readers expect int8."""
    return np.result_type(np.min_scalar_type(low), np.min_scalar_type(-high - 1), np.int16)


def nifti_pieces(stored: Volume, *, is_label_map: bool) -> Iterator[bytes]:
    """The plain bytes of a NIfTI-1 file, a few MB at a time."""
    header = Nifti1Header(endianness="<")
    several = stored.channels > 1
    header.set_data_dtype(stored.voxels.dtype)
    header.set_data_shape((*stored.grid.shape, stored.channels) if several else stored.grid.shape)
    header.set_qform(stored.grid.affine, code=1)
    header.set_sform(stored.grid.affine, code=1)
    header.set_xyzt_units("mm", "sec")
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = FIRST_OFFSET["NIfTI-1"]
    header["intent_code"] = LABEL_INTENT if is_label_map else 0
    yield bytes(header.binaryblock) + bytes(4)
    for channel in stored.voxels:
        yield from planes(channel)


def planes(channel: NDArray[Any]) -> Iterator[bytes]:
    """The voxels of (I, J, K), i running fastest, a few MB at a time."""
    step = max(1, PIECE // max(1, channel[..., 0].nbytes))
    for k in range(0, channel.shape[-1], step):
        yield channel[..., k : k + step].tobytes(order="F")


class Tally:
    """Counts and checks the bytes that pass through it."""

    def __init__(self) -> None:
        self.count, self.crc = 0, 0

    def counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, each counted as it passes."""
        for piece in pieces:
            self.count += len(piece)
            self.crc = isal_zlib.crc32(piece, self.crc)
            yield piece


def _judge(volume: Volume, path: Path, kind: str) -> None:
    if volume.channels > 1 and not kind.startswith(".nii"):
        raise ShapeError(
            f"{path.name} would take {volume.channels} channels; write them as .nii.gz, "
            "or one file a channel."
        )
    if max(volume.voxels.shape) > LONGEST_AXIS and kind.startswith(".nii"):
        raise ShapeError(f"NIfTI-1 takes axes of up to {LONGEST_AXIS}; write .nrrd or .mha.")
    angle = shear_rad(volume.grid.affine)
    if angle > ROUNDING_RAD:
        raise GeometryError(
            f"{path.name} was not written: two axes miss their right angle by "
            f"{np.degrees(angle):.2g} degrees. Resample to a grid with right angles first."
        )


def _read_back_nifti(part: Path, stored: Volume, tally: Tally) -> None:
    """Compare the file with what was meant to be in it, in bounded memory.

    Raises:
        WriteError: they differ.
    """
    inquiry = Inquiry(part.name)
    try:
        with part.open("rb") as file:
            stream = Stream(file, inquiry)
            header = parse(stream.peek(HEAD), "NIfTI-1", inquiry)
            lying = layout(header, "NIfTI-1", inquiry, channels_in_file=True)
            affine = affine_of(header, stored.grid.shape, inquiry)
            count, crc = stream.checksum(tally.count)
            count += stream.finish()
        inquiry.settle()
    except Refused as error:
        raise differs(str(error)) from error
    shape = (*stored.grid.shape, stored.channels) if stored.channels > 1 else stored.grid.shape
    if (count, crc) != (tally.count, tally.crc):
        raise differs("The bytes are others.")
    if lying.shape != shape or lying.dtype != stored.voxels.dtype:
        raise differs(f"The voxels are {lying.dtype} {lying.shape}.")
    if not np.array_equal(affine, stored.grid.affine.astype(np.float32)):
        raise differs("The affine is another.")


def _read_back(part: Path, stored: Volume) -> None:
    """As above, for what SimpleITK reads."""
    try:
        found = open_volume(part, Inquiry(part.name), channels_in_file=False)
    except Refused as error:
        raise differs(str(error)) from error
    same = np.array_equal(found.voxels, stored.voxels, equal_nan=stored.voxels.dtype.kind == "f")
    if not same or not found.grid.matches(stored.grid):
        raise differs("The voxels or their grid are others.")
