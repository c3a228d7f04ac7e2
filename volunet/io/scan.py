"""Open a scan by its content, and read it to the last byte; nothing is decided by its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from volunet.findings import Severity, worst_first
from volunet.io.header import Header
from volunet.io.image_values import judge_image
from volunet.io.inquiry import Inquiry
from volunet.io.names import is_dicom, is_picture, suffix
from volunet.io.nifti_bytes import Stream
from volunet.io.nifti_geometry import affine_of
from volunet.io.nifti_header import Layout, layout, parse
from volunet.io.nifti_voxels import judge_size, read_voxels
from volunet.io.opening import NotAFileError, open_file
from volunet.io.pair import check_pair
from volunet.io.reading import Reading
from volunet.io.sniff import DICOM_ADVICE, HEAD, sniff
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume

ENDINGS = {
    "NIfTI-1": (".nii.gz", ".nii"),
    "NIfTI-2": (".nii.gz", ".nii"),
    "NRRD": (".nrrd",),
    "MetaImage": (".mha", ".mhd"),
}
PICTURES = {
    "a PNG picture": (".png",),
    "a TIFF picture": (".tif", ".tiff"),
    "a JPEG picture": (".jpg", ".jpeg"),
    "a BMP picture": (".bmp",),
}
Open = Callable[[Path, str, Inquiry], Volume]


def inspect(
    path: str | os.PathLike[str],
    *,
    accept: Collection[str] = (),
    channels_in_file: bool = False,
) -> Reading:
    """A scan with everything found about it, read to the last byte.

    Args:
        path: NIfTI (.nii.gz, .nii), NRRD, MetaImage, or a picture (PNG, TIFF, JPEG, BMP), which is
            a volume of one slice.
        accept: codes of refusals to waive where there is a way to go on.
        channels_in_file: take a fourth axis (or the components of a voxel) for channels, which the
            colours of a picture always are.

    Returns:
        Voxels (C, I, J, K) in the file's own type (float32 where the file scales them), with NaN
        and infinities set to the lowest finite value of their channel; the affine as the file has
        it, in mm.

    Raises:
        Refused: the scan is damaged, or its meaning is in doubt; the findings say why.
    """
    inquiry = Inquiry(Path(path).name, accept)
    volume = open_volume(Path(path), inquiry, channels_in_file=channels_in_file)
    mended = judge_image(volume.voxels, inquiry)
    findings = inquiry.settle()
    return Reading(replace(volume, sides_guessed=inquiry.guesses_sides), findings, mended)


def read_channels(
    paths: Sequence[str | os.PathLike[str]], *, accept: Collection[str] = ()
) -> Reading:
    """Several files of one case as the channels of one volume.

    Args:
        paths: one file a channel, at least one.
        accept: codes of refusals to waive; GEO-MISMATCH takes the first file's grid for all
            where they have as many voxels.

    Returns:
        Voxels (C, I, J, K) in the smallest type that holds all channels, on the first file's grid.

    Raises:
        Refused: a file is refused, or lies on another grid than the first.
    """
    readings = [inspect(path, accept=accept) for path in paths]
    first = readings[0].volume
    found = [f for reading in readings for f in reading.findings]
    for path, reading in zip(paths[1:], readings[1:], strict=True):
        other = reading.volume.grid
        inquiry = Inquiry(Path(path).name, accept if other.shape == first.grid.shape else ())
        inquiry.take(check_pair(first.grid, other))
        found += inquiry.settle()
    voxels = np.concatenate([reading.volume.voxels for reading in readings])
    guessed = any(reading.volume.sides_guessed for reading in readings)
    whole = Volume(voxels, first.grid, sides_guessed=guessed)
    mended = [reading.mended for reading in readings if reading.mended is not None]
    of_any = np.logical_or.reduce(mended) if mended else None
    return Reading(whole, tuple(worst_first(found)), of_any)


def read_header(
    paths: Sequence[str | os.PathLike[str]],
    *,
    accept: Collection[str] = (),
    channels_in_file: bool = False,
) -> Header:
    """What the files of a scan say of its voxels, none of which is read.

    Args:
        paths: one file, or one for each channel.
        accept: codes of refusals to waive.
        channels_in_file: as in `inspect`.

    Raises:
        Refused: a header cannot be read, its meaning is in doubt, or it says more than the file
            can hold.
    """
    several = channels_in_file and len(paths) == 1
    return Header.of_channels(
        [
            open_header(Path(path), Inquiry(Path(path).name, accept), channels_in_file=several)
            for path in paths
        ]
    )


def open_header(path: Path, inquiry: Inquiry, *, channels_in_file: bool) -> Header:
    """The header of a file.

    Raises:
        Refused: it cannot be read, its meaning is in doubt and that is not accepted, or it says
            more than the file can hold.
    """
    try:
        with _opened(path, inquiry) as file:
            stream = Stream(file, inquiry)
            kind = _kind(stream, path, inquiry)
            if kind.startswith("NIfTI"):
                grid, lying = _nifti(stream, kind, inquiry, channels_in_file=channels_in_file)
                judge_size(stream, lying, inquiry)
                channels = lying.shape[3] if len(lying.shape) > 3 else 1
                stored = lying.dtype.newbyteorder("=")
                if lying.scale is None:
                    return Header(grid, channels, stored)
                return Header(grid, channels, np.dtype(np.float32), stored, copies=1)
        # SimpleITK takes a second to load
        if kind in PICTURES:
            from volunet.io.pictures import open_picture_header

            return open_picture_header(path, kind, inquiry)
        from volunet.io.itk import open_itk_header

        return open_itk_header(path, kind, inquiry, channels_in_file=channels_in_file)
    except OSError as error:
        message = f"The file could not be read: {error.strerror or error}."
        raise inquiry.refusal("IO-FAULT", message) from error


def open_volume(path: Path, inquiry: Inquiry, *, channels_in_file: bool) -> Volume:
    """The volume in a file, its values not yet judged.

    Raises:
        Refused: the scan is damaged, or its geometry is in doubt and that is not accepted.
    """
    return _open(path, inquiry, _open_picture, channels_in_file=channels_in_file)


def open_mask(path: Path, labels: Labels | None, inquiry: Inquiry) -> Volume:
    """The label map in a file, its values not yet judged.

    Args:
        labels: what the colours of a picture mean.

    Raises:
        Refused: as `open_volume`; or a picture does not keep values, or holds other colours.
    """
    return _open(path, inquiry, partial(_open_drawn, labels=labels), channels_in_file=False)


def _open_picture(path: Path, kind: str, inquiry: Inquiry) -> Volume:
    from volunet.io.pictures import open_picture  # SimpleITK takes a second to load

    return open_picture(path, kind, inquiry)


def _open_drawn(path: Path, kind: str, inquiry: Inquiry, *, labels: Labels | None) -> Volume:
    from volunet.io.pictures import open_drawn  # as above

    return open_drawn(path, kind, labels, inquiry)


def _open(path: Path, inquiry: Inquiry, open_picture: Open, *, channels_in_file: bool) -> Volume:
    try:
        with _opened(path, inquiry) as file:
            stream = Stream(file, inquiry)
            kind = _kind(stream, path, inquiry)
            if kind.startswith("NIfTI"):
                grid, lying = _nifti(stream, kind, inquiry, channels_in_file=channels_in_file)
                return Volume(read_voxels(stream, lying, inquiry), grid)
        if kind in PICTURES:
            return open_picture(path, kind, inquiry)
        from volunet.io.itk import open_itk  # SimpleITK takes a second to load

        return open_itk(path, kind, inquiry, channels_in_file=channels_in_file)
    except OSError as error:
        message = f"The file could not be read: {error.strerror or error}."
        raise inquiry.refusal("IO-FAULT", message) from error


def _opened(path: Path, inquiry: Inquiry) -> BinaryIO:
    try:
        return open_file(path)
    except NotAFileError as error:
        raise inquiry.refusal("IO-FORMAT", f"This is {error.strerror}, not a scan.") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise inquiry.refusal("IO-MISSING", "There is no such file.") from error


def _kind(stream: Stream, path: Path, inquiry: Inquiry) -> str:
    """What the file is; refused unless it is a scan, noted where the name says otherwise."""
    head = stream.peek(HEAD)
    if not head:
        raise inquiry.refusal("IO-EMPTY", "The file holds no bytes.")
    kind, wanted = sniff(head), suffix(path)
    if kind in ("NIfTI without its magic", "cut NIfTI"):
        code = "NII-MAGIC" if kind != "cut NIfTI" else "IO-TRUNC"
        raise inquiry.refusal(code, f"This is {kind}, of which {len(head)} bytes were seen.")
    if kind in PICTURES and is_picture(path) and not stream.packed:
        if wanted not in PICTURES[kind]:
            _note_name(kind, wanted, inquiry, hidden=False)
        return kind
    if kind not in ENDINGS:
        if kind == "DICOM" or (kind == "unknown" and is_dicom(path)):
            what = "This is DICOM, which is not yet read."
            raise inquiry.refusal("IO-FORMAT", what, advice=DICOM_ADVICE)
        what = "none of the formats volunet knows" if kind == "unknown" else kind
        raise inquiry.refusal("IO-FORMAT", f"This is {what}, not {wanted or 'a scan'}.")
    if stream.packed and not kind.startswith("NIfTI"):
        what = f"This is {kind} that is packed as a whole, header and all."
        named = path.name.lower().endswith(".gz")
        advice = "Unpack it with gunzip." if named else "Add .gz to its name and run gunzip on it."
        raise inquiry.refusal("IO-FORMAT", what, advice=advice)
    if wanted not in ENDINGS[kind] or (wanted == ".nii.gz") != stream.packed:
        packed = "gzip-packed " if stream.packed else ""
        _note_name(f"{packed}{kind}", wanted, inquiry, hidden=stream.packed)
    return kind


def _note_name(kind: str, wanted: str, inquiry: Inquiry, *, hidden: bool) -> None:
    """A packed file under a plain name is refused: other readers fail on it."""
    message = f"This is {kind}, the name ends in {wanted or 'nothing known'}."
    if hidden and not wanted.endswith(".gz"):
        advice = "Rename it to .nii.gz, or accept IO-NAME to read it as it is."
        inquiry.note("IO-NAME", message, severity=Severity.REFUSE, advice=advice)
    else:
        inquiry.note("IO-NAME", message)


def _nifti(
    stream: Stream, kind: str, inquiry: Inquiry, *, channels_in_file: bool
) -> tuple[Grid, Layout]:
    """Where the voxels sit, and how they lie in the file."""
    header = parse(stream.peek(HEAD), kind, inquiry)
    lying = layout(header, kind, inquiry, channels_in_file=channels_in_file)
    shape = (lying.shape[0], lying.shape[1], lying.shape[2])
    affine = affine_of(header, shape, inquiry)
    inquiry.settle()
    return Grid(shape, affine), lying
