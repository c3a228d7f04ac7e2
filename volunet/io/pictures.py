"""Plain pictures (PNG, TIFF, JPEG, BMP) as volumes of one slice, and masks drawn in them.

SimpleITK makes the pixels once the file has been checked. Its array runs (row, column, part); here
columns are i and rows are j, on the grid of `volunet.space.picture`. Nothing is flipped.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from numpy.typing import NDArray

from volunet.io.header import Header
from volunet.io.inquiry import Inquiry
from volunet.io.picture_bytes import read_facts
from volunet.io.picture_facts import PictureFacts
from volunet.io.png import bare
from volunet.space.labels import Labels
from volunet.space.picture import COLOURS, picture_grid
from volunet.space.volume import Volume

READERS = {
    "a PNG picture": "PNGImageIO",
    "a TIFF picture": "TIFFImageIO",
    "a JPEG picture": "JPEGImageIO",
    "a BMP picture": "BMPImageIO",
}
MOST_TOLD = 6
"""Colours that a message lists."""


def open_picture(path: Path, kind: str, inquiry: Inquiry) -> Volume:
    """A picture as a volume.

    Args:
        kind: what `sniff` says of it.

    Returns:
        Voxels (C, I, J, 1), C = 1 for grey and 3 for colours, in the file's own type. Palettes are
        shown in their colours, and alpha is left out.

    Raises:
        Refused: the file is damaged, or of a kind that is not read.
    """
    content = path.read_bytes()
    facts = read_facts(content, kind, inquiry)
    return _as_volume(_pixels(content, path, kind, facts, inquiry))


def open_picture_header(path: Path, kind: str, inquiry: Inquiry) -> Header:
    """What a picture's file says of its voxels.

    Raises:
        Refused: as `open_picture`, but for what only its pixels would show.
    """
    facts = read_facts(path.read_bytes(), kind, inquiry)
    grid = picture_grid(facts.columns, facts.rows)
    return Header(grid, facts.parts, facts.dtype, copies=2)


def open_drawn(path: Path, kind: str, labels: Labels | None, inquiry: Inquiry) -> Volume:
    """A mask drawn in a picture, as label values.

    A palette's indices are the values; grey numbers are, also where they were stored as colours
    without a hue; colours mean what `labels` says where its masks are drawn in colours.

    Returns:
        Voxels (1, I, J, 1), not yet compared with the labels' values.

    Raises:
        Refused: the file is damaged or lossy (LBL-LOSSY), or has colours that nobody declared
            (LBL-COLOUR).
    """
    content = path.read_bytes()
    facts = read_facts(content, kind, inquiry)
    if facts.lossy:
        raise inquiry.refusal("LBL-LOSSY", "The mask is packed as JPEG packs photographs.")
    if facts.parts > len(COLOURS):
        message = f"The mask has {facts.parts} bands, and a pixel's label is one number or colour."
        raise inquiry.refusal("IO-FORMAT", message, advice="Save it as grey, or as RGB.")
    by_colour = labels is not None and labels.masks == "colours"
    indices = facts.indexed and not by_colour
    pixels = _pixels(content, path, kind, facts, inquiry, indices=indices)
    if by_colour:
        assert labels is not None
        return _as_volume(_values_of_colours(pixels, labels, inquiry)[..., None])
    grey = pixels[..., :1]
    if not np.array_equal(pixels, np.broadcast_to(grey, pixels.shape)):
        raise _undeclared(_packed(pixels, inquiry), None, inquiry)
    if facts.bits < 8:  # which SimpleITK spreads over 0 to 255
        grey = grey // (255 // (2**facts.bits - 1))
    return _as_volume(grey)


def _pixels(
    content: bytes,
    path: Path,
    kind: str,
    facts: PictureFacts,
    inquiry: Inquiry,
    *,
    indices: bool = False,
) -> NDArray[Any]:
    """The pixels (row, column, part) without alpha."""
    if kind == "a PNG picture":
        with TemporaryDirectory(prefix="volunet-") as folder:
            plain = Path(folder, "plain.png")
            plain.write_bytes(bare(content, inquiry, indices=indices))
            stored = _read(plain, kind, inquiry)
    else:
        stored = _read(path, kind, inquiry)
    parts = 1 if indices else facts.parts
    pixels = stored.reshape(*stored.shape[:2], -1)
    is_grey = parts == 1 and pixels.shape[-1] == 3  # a BMP's palette of greys
    has_alpha = facts.alpha and pixels.shape[-1] == parts + 1
    if has_alpha or is_grey:
        pixels = pixels[..., :parts]
    if pixels.shape != (facts.rows, facts.columns, parts) or pixels.dtype != facts.dtype:
        message = f"SimpleITK read {pixels.dtype} {pixels.shape}, which the file does not hold."
        raise inquiry.refusal("IO-FORMAT", message, advice="Save it as PNG.")
    return pixels


def _read(path: Path, kind: str, inquiry: Inquiry) -> NDArray[Any]:
    try:
        stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO=READERS[kind]))
    except RuntimeError as error:
        what = str(error).strip().splitlines()[-1].replace(str(path), "the file")
        raise inquiry.refusal("IO-FORMAT", f"SimpleITK cannot make sense of it: {what}") from error
    return np.asarray(stored)


def _as_volume(pixels: NDArray[Any]) -> Volume:
    """(row, column, part) as (C, I, J, 1)."""
    rows, columns, _ = pixels.shape
    return Volume(pixels.transpose(2, 1, 0)[..., None], picture_grid(columns, rows))


def _values_of_colours(
    pixels: NDArray[Any], labels: Labels, inquiry: Inquiry
) -> NDArray[np.integer[Any]]:
    """Label values (row, column) of colours."""
    meaning = {int(told[1:], 16): value for value, told in labels.mask_colours.items()}
    packed = _packed(pixels, inquiry)
    seen, places = np.unique(packed, return_inverse=True)
    if not set(seen.tolist()) <= set(meaning):
        raise _undeclared(packed, labels, inquiry)
    values = np.array([meaning[colour] for colour in seen.tolist()], dtype=labels.dtype)
    return values[places].reshape(packed.shape)


def _packed(pixels: NDArray[Any], inquiry: Inquiry) -> NDArray[np.uint32]:
    """Each pixel's colour as one number, #rrggbb."""
    if pixels.dtype != np.uint8:
        advice = "Save the mask with 8 bits a colour."
        raise inquiry.refusal("LBL-COLOUR", f"Its colours are {pixels.dtype}.", advice=advice)
    red, green, blue = np.moveaxis(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), -1, 0)
    return np.asarray((red.astype(np.uint32) << 16) | (green.astype(np.uint32) << 8) | blue)


def _undeclared(packed: NDArray[np.uint32], labels: Labels | None, inquiry: Inquiry) -> Exception:
    """The refusal that names the commonest colours nobody declared."""
    declared = {} if labels is None else labels.mask_colours
    known = {int(told[1:], 16) for told in declared.values()}
    colours, counts = np.unique(packed, return_counts=True)
    found = sorted(zip(-counts, colours, strict=True))
    unknown = [(f"#{colour:06x}", int(-n)) for n, colour in found if int(colour) not in known]
    shown = ", ".join(f"{told} ({n} pixels)" for told, n in unknown[:MOST_TOLD])
    rest = f" and {len(unknown) - MOST_TOLD} further colours" if len(unknown) > MOST_TOLD else ""
    message = f"The mask holds the colours {shown}{rest}"
    message += f", which are not declared; declared are {declared}." if declared else "."
    return inquiry.refusal("LBL-COLOUR", message, colours=len(unknown))
