"""TIFF: what its directory says, whether its pixels are all there, and the turn that EXIF tells.

Source: Adobe, TIFF revision 6.0 (1992). SimpleITK reads TIFFs in tiles, in separate planes or of
odd colours at 8 bits only, without an error; they are refused here.
"""

from __future__ import annotations

import struct

import numpy as np

from volunet.io.inquiry import Inquiry
from volunet.io.picture_facts import PictureFacts, cut_short

SIZES = {1: "B", 3: "H", 4: "I"}
SUBFILE, COLUMNS, ROWS, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, TURN, PARTS, COUNTS = (
    254,
    256,
    257,
    258,
    259,
    262,
    273,
    274,
    277,
    279,
)
PLANES, TILE_OFFSETS, EXTRA, SAMPLE_FORMAT = 284, 324, 338, 339
JPEGS = (6, 7)
GREY, COLOURS = 1, 2
KINDS = {1: "u", 2: "i", 3: "f"}
MOST_PAGES = 10_000
STRIPS = "Save it as plain grey or RGB, in strips; most programs do so when asked to export."

Directory = dict[int, tuple[int, ...]]


def read_tiff(content: bytes, inquiry: Inquiry) -> PictureFacts:
    """What a TIFF says of its picture, once all of its pixels are there.

    Raises:
        Refused: it is cut short, holds several pictures, or is of a kind that is not read.
    """
    try:
        pages = _directories(content)
    except (struct.error, ValueError) as error:
        raise cut_short(inquiry, "TIFF") from error
    whole = [page for page in pages if not page.get(SUBFILE, (0,))[0] & 1]
    if len(whole) != 1 or len(pages) != 1:
        raise inquiry.refusal(
            "IMG-AXES",
            f"The TIFF holds {len(pages)} pictures, a stack or one in several sizes.",
            advice="Save each as a file of its own, or the stack as NRRD with its spacing.",
            pages=len(pages),
        )
    (page,) = whole
    if (turn := page.get(TURN, (1,))[0]) not in (0, 1):
        message = f"Its orientation is {turn}, where 1 is upright."
        raise inquiry.refusal("IMG-TURNED", message, advice="Save it upright.")
    facts = _facts(page, inquiry)
    ends = [a + n for a, n in zip(page.get(OFFSETS, ()), page.get(COUNTS, ()), strict=False)]
    if not ends or max(ends) > len(content):
        raise cut_short(inquiry, "TIFF")
    return facts


def read_turn(content: bytes) -> int:
    """The orientation that an EXIF block, which is a small TIFF, tells; 1 where it tells none."""
    try:
        return _directories(content)[0].get(TURN, (1,))[0]
    except (struct.error, ValueError, IndexError):
        return 1


def _facts(page: Directory, inquiry: Inquiry) -> PictureFacts:
    parts, light = page.get(PARTS, (1,))[0], page.get(PHOTOMETRIC, (GREY,))[0]
    bits, kinds = set(page.get(BITS, (1,))), set(page.get(SAMPLE_FORMAT, (1,)))
    odd = [
        said
        for said, is_so in {
            "in tiles": TILE_OFFSETS in page,
            "in separate planes": page.get(PLANES, (1,))[0] != 1 and parts > 1,
            f"of {sorted(bits)} bits": len(bits) > 1 or not bits <= {8, 16, 32},
            f"of sample format {sorted(kinds)}": len(kinds) > 1 or not kinds <= set(KINDS),
            f"of colour space {light} with {parts} parts": (light, parts > 2)
            not in ((GREY, False), (COLOURS, True))
            or parts == 2,
        }.items()
        if is_so
    ]
    if odd:
        message = f"A TIFF {', '.join(odd)} is not read."
        raise inquiry.refusal("IO-FORMAT", message, advice=STRIPS)
    (bit,), (kind,) = bits, kinds
    if (kind, bit) in ((3, 8), (3, 16)):
        raise inquiry.refusal("NII-DTYPE", f"TIFF numbers of {bit} bits with fractions.")
    alpha = sum(extra in (1, 2) for extra in page.get(EXTRA, ()))
    return PictureFacts(
        page.get(COLUMNS, (0,))[0],
        page.get(ROWS, (0,))[0],
        parts=parts - alpha,
        dtype=np.dtype(f"{KINDS[kind]}{bit // 8}"),
        alpha=alpha > 0,
        lossy=page.get(COMPRESSION, (1,))[0] in JPEGS,
    )


def _directories(content: bytes) -> list[Directory]:
    """The directory of each picture: numbers by tag.

    Raises:
        ValueError: they do not lie in the file.
        struct.error: they reach past its end.
    """
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None:
        raise ValueError("no TIFF")
    (at,) = struct.unpack_from(order + "I", content, 4)
    pages: list[Directory] = []
    seen: set[int] = set()
    while at and len(pages) < MOST_PAGES:
        if at in seen:
            raise ValueError("its directories run in a circle")
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", content, at)
        entries = (_entry(content, at + 2 + 12 * n, order) for n in range(count))
        pages.append({tag: numbers for tag, numbers in entries if numbers})
        (at,) = struct.unpack_from(order + "I", content, at + 2 + 12 * count)
    if not pages:
        raise ValueError("it has no directory")
    return pages


def _entry(content: bytes, at: int, order: str) -> tuple[int, tuple[int, ...]]:
    """A tag and its numbers, none where they are of a type without whole numbers."""
    tag, kind, count = struct.unpack_from(order + "HHI", content, at)
    if kind not in SIZES:
        return tag, ()
    size = struct.calcsize(SIZES[kind])
    place = at + 8
    if count * size > 4:
        (place,) = struct.unpack_from(order + "I", content, place)
    if place + count * size > len(content):
        raise ValueError("it is cut")
    return tag, struct.unpack_from(f"{order}{count}{SIZES[kind]}", content, place)
