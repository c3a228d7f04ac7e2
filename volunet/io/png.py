"""PNG: its chunks checked to the last byte, and pictures written as PNG.

Source: W3C, Portable Network Graphics, third edition (2025), https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from volunet.io.inquiry import Inquiry
from volunet.io.itk_headers import packed
from volunet.io.nifti_bytes import RATIO, Stream
from volunet.io.picture_facts import PictureFacts, cut_short
from volunet.io.tiff import read_turn

MAGIC = b"\x89PNG\r\n\x1a\n"
ZLIB_WBITS = 15
GREY, COLOURS, INDEXED, GREY_ALPHA, COLOURS_ALPHA = 0, 2, 3, 4, 6
PARTS = {GREY: 1, COLOURS: 3, INDEXED: 1, GREY_ALPHA: 2, COLOURS_ALPHA: 4}
"""Numbers of a pixel in the file, by colour type."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
PASSES = {0: ((0, 0, 1, 1),), 1: (*ADAM7, (0, 1, 1, 2))}
"""First column and row, and the steps between them, of each pass, by interlace method."""

Chunks = list[tuple[bytes, bytes]]


def read_png(content: bytes, inquiry: Inquiry) -> PictureFacts:
    """What a PNG says of itself, once every byte of it is there and as it was written.

    Raises:
        Refused: it is cut short, damaged, or of a kind that is not read.
    """
    chunks = read_chunks(content, inquiry)
    names = {name for name, _ in chunks}
    if left := len(content) - len(MAGIC) - sum(12 + len(data) for _, data in chunks):
        inquiry.note("IO-TRAILING", f"{left} bytes follow the picture.", left=left)
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise inquiry.refusal("IO-FORMAT", "The PNG does not begin with its header.")
    columns, rows, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if colour not in PARTS or bits not in (1, 2, 4, 8, 16) or interlace not in PASSES:
        raise inquiry.refusal("IO-FORMAT", f"PNG has no colour type {colour} of {bits} bits.")
    if colour == GREY_ALPHA:
        advice = "Save it as grey or RGB, without its alpha channel."
        raise inquiry.refusal("IO-FORMAT", "Grey with an alpha channel is not read.", advice=advice)
    expected = _unpacked_bytes(columns, rows, PARTS[colour] * bits, interlace)
    _check_pixels(b"".join(data for name, data in chunks if name == b"IDAT"), expected, inquiry)
    return PictureFacts(
        columns,
        rows,
        parts=1 if colour == GREY else 3,
        dtype=np.dtype(np.uint16 if bits == 16 else np.uint8),
        alpha=colour == COLOURS_ALPHA or b"tRNS" in names,
        bits=bits,
        indexed=colour == INDEXED,
        turn=next((read_turn(data) for name, data in chunks if name == b"eXIf"), 1),
    )


def read_chunks(content: bytes, inquiry: Inquiry) -> Chunks:
    """The chunks of a PNG, name and data, the first one at least.

    Raises:
        Refused: one is damaged, or the last one is missing.
    """
    chunks: Chunks = []
    at = len(MAGIC)
    while not chunks or chunks[-1][0] != b"IEND":
        if at + 12 > len(content):
            raise cut_short(inquiry, "PNG")
        (length,) = struct.unpack_from(">I", content, at)
        end = at + 12 + length
        if end > len(content):
            raise cut_short(inquiry, "PNG")
        name, data = content[at + 4 : at + 8], content[at + 8 : end - 4]
        (told,) = struct.unpack_from(">I", content, end - 4)
        if isal_zlib.crc32(content[at + 4 : end - 4]) != told:
            raise inquiry.refusal("IO-CRC", f"The checksum of its part {name!r} is wrong.")
        chunks.append((name, data))
        at = end
    return chunks


def bare(content: bytes, inquiry: Inquiry, *, indices: bool) -> bytes:
    """The same PNG without what makes readers change its pixels: significant bits, transparency.

    Args:
        indices: take the indices of a palette for grey values.
    """
    chunks = read_chunks(content, inquiry)
    kept = (b"IHDR", b"IDAT", b"IEND") if indices else (b"IHDR", b"PLTE", b"IDAT", b"IEND")
    pieces = [MAGIC]
    for name, data in chunks:
        if name == b"IHDR" and indices:
            data = data[:9] + bytes([GREY]) + data[10:]
        if name in kept:
            pieces.append(_chunk(name, data))
    return b"".join(pieces)


def png_pieces(voxels: NDArray[Any], colours: Mapping[int, str]) -> Iterator[bytes]:
    """The bytes of a PNG.

    Args:
        voxels: (1 or 3, I, J, 1), uint8 or uint16.
        colours: the "#rrggbb" of each value of uint8 voxels (1, I, J, 1), which become the indices
            of a palette; {} for none.
    """
    lines = np.ascontiguousarray(voxels[..., 0].transpose(2, 1, 0))
    rows, columns, parts = lines.shape
    colour = INDEXED if colours else {1: GREY, 3: COLOURS}[parts]
    bits = 8 * lines.dtype.itemsize
    yield MAGIC
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, 0))
    if colours:
        table = bytearray(3 * (max(colours) + 1))
        for value, told in colours.items():
            table[3 * value : 3 * value + 3] = bytes.fromhex(told[1:])
        yield _chunk(b"PLTE", bytes(table))
    for piece in packed(_filtered(lines.astype(lines.dtype.newbyteorder(">"))), wbits=ZLIB_WBITS):
        if piece:
            yield _chunk(b"IDAT", piece)
    yield _chunk(b"IEND", b"")


def _filtered(lines: Iterable[NDArray[Any]]) -> Iterator[bytes]:
    """Each line behind the number of its filter, 0 for none."""
    for line in lines:
        yield b"\0" + line.tobytes()


def _chunk(name: bytes, data: bytes) -> bytes:
    crc = isal_zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def _unpacked_bytes(columns: int, rows: int, bits: int, interlace: int) -> int:
    """Bytes of all lines, each behind its filter's number.

    Args:
        bits: of a pixel.
    """
    total = 0
    for x, y, dx, dy in PASSES[interlace]:
        if columns > x and rows > y:
            total += ceil((rows - y) / dy) * (1 + ceil(ceil((columns - x) / dx) * bits / 8))
    return total


def _check_pixels(data: bytes, expected: int, inquiry: Inquiry) -> None:
    """Unpack the pixels and count them."""
    if expected > max(len(data), 1) * RATIO:
        message = f"The header claims {expected} bytes of pixels, {len(data)} bytes hold them."
        raise inquiry.refusal("IO-BOMB", message, claimed=expected, size=len(data))
    stream = Stream(BytesIO(data), inquiry, zlib=True)
    got, _ = stream.checksum(expected)
    if got < expected:
        raise cut_short(inquiry, "PNG")
    stream.finish()
