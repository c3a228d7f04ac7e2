"""The bytes of a picture checked by its format; JPEG and BMP are short enough to stand here.

Sources: ITU-T T.81 (1992), annex B, for JPEG's markers; Microsoft's BITMAPINFOHEADER for BMP.
SimpleITK fills with grey what a file has lost, so what is not there must be seen beforehand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from volunet.io.inquiry import Inquiry
from volunet.io.picture_facts import PictureFacts, cut_short
from volunet.io.png import read_png
from volunet.io.tiff import read_tiff, read_turn

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
SCAN, EXIF, END = 0xDA, 0xE1, b"\xff\xd9"
UINT8 = np.dtype(np.uint8)


def read_facts(content: bytes, kind: str, inquiry: Inquiry) -> PictureFacts:
    """What a picture's bytes say of it, once all of them are there.

    Args:
        kind: what `sniff` says of it.

    Raises:
        Refused: it is cut short, damaged, to be shown turned, or of a kind that is not read.
    """
    reads = {
        "a PNG picture": read_png,
        "a TIFF picture": read_tiff,
        "a JPEG picture": read_jpeg,
        "a BMP picture": read_bmp,
    }
    facts = reads[kind](content, inquiry)
    facts.judge(inquiry, size=len(content))
    return facts


def read_jpeg(content: bytes, inquiry: Inquiry) -> PictureFacts:
    """What a JPEG says of itself, once its end is there.

    Raises:
        Refused: it is cut short, or of a kind that is not read.
    """
    turn, frame = 1, None
    try:
        for marker, data, after in _segments(content):
            if marker == EXIF and data.startswith(b"Exif\0\0"):
                turn = read_turn(data[6:])
            elif marker in FRAMES:
                frame = struct.unpack_from(">BHHB", data)
            elif marker == SCAN and END not in content[after:]:
                raise cut_short(inquiry, "JPEG")
    except (struct.error, IndexError) as error:
        raise cut_short(inquiry, "JPEG") from error
    if frame is None:
        raise cut_short(inquiry, "JPEG")
    bits, rows, columns, parts = frame
    if bits != 8 or parts not in (1, 3):
        message = f"A JPEG of {bits} bits and {parts} parts is not read."
        raise inquiry.refusal("IO-FORMAT", message, advice="Save it as RGB with 8 bits.")
    return PictureFacts(columns, rows, parts, UINT8, turn=turn, lossy=True)


def read_bmp(content: bytes, inquiry: Inquiry) -> PictureFacts:
    """What a BMP says of itself, once its pixels are there. A palette of greys makes it grey.

    Raises:
        Refused: it is cut short, or of a kind that is not read.
    """
    if len(content) < 54:
        raise cut_short(inquiry, "BMP")
    start, length, columns, rows, _, bits, packing = struct.unpack_from("<IIiiHHI", content, 10)
    if length < 40 or bits not in (8, 24) or packing != 0:
        message = f"A BMP of {bits} bits, packed in the way {packing}, is not read."
        raise inquiry.refusal("IO-FORMAT", message, advice="Save it as PNG.")
    if start + -(-columns * bits // 32) * 4 * abs(rows) > len(content):
        raise cut_short(inquiry, "BMP")
    palette = np.frombuffer(content[14 + length : start], dtype=np.uint8)
    colours = palette[: len(palette) // 4 * 4].reshape(-1, 4)[:, :3]
    grey = bits == 8 and bool((colours == colours[:, :1]).all())
    return PictureFacts(columns, abs(rows), 1 if grey else 3, UINT8)


def _segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, data and end of each segment of a JPEG, up to its first scan.

    Raises:
        IndexError: the file ends before that.
        struct.error: the same.
    """
    at, marker = 2, 0
    while marker != SCAN:
        while content[at] == 0xFF and content[at + 1] == 0xFF:
            at += 1  # fill bytes may stand before a marker
        marker = content[at + 1]
        (length,) = struct.unpack_from(">H", content, at + 2)
        if content[at] != 0xFF or length < 2 or at + 2 + length > len(content):
            raise IndexError("no marker")
        yield marker, content[at + 4 : at + 2 + length], at + 2 + length
        at += 2 + length
