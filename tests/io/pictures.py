"""Small pictures of every kind, and PNGs put together byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def ramp(rows: int, columns: int, parts: int = 1, dtype: Any = np.uint8) -> NDArray[Any]:
    """Numbers (row, column, part) that no turn or mirror leaves as they are."""
    return np.arange(rows * columns * parts).reshape(rows, columns, parts).astype(dtype)


def save(pixels: NDArray[Any], path: Path) -> Path:
    """Writes (row, column, part) with SimpleITK, which takes its arrays in this order."""
    many = pixels.shape[-1] > 1
    image = sitk.GetImageFromArray(pixels if many else pixels[..., 0], isVector=many)
    sitk.WriteImage(image, str(path))
    return path


def save_indexed(indices: NDArray[np.uint8], colours: list[int], path: Path, **more: Any) -> Path:
    """Writes (row, column) as a PNG with a palette of r, g, b, r, g, b, ..."""
    image = Image.fromarray(indices)
    image.putpalette(colours)
    image.save(path, **more)
    return path


def png(
    lines: list[bytes],
    columns: int,
    rows: int,
    *,
    colour: int,
    bits: int,
    more: bytes = b"",
    adam=0,
) -> bytes:
    """A PNG of lines of packed pixels."""
    header = struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, adam)
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    parts = [chunk(b"IHDR", header), more, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def interlaced(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of (row, column) whose lines come in seven passes."""
    rows, columns = pixels.shape
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in ADAM7]
    lines = [line.tobytes() for part in passes if part.size for line in part]
    return png(lines, columns, rows, colour=0, bits=8, adam=1)


@st.composite
def pictures(draw: st.DrawFn) -> NDArray[Any]:
    """(row, column, part) of any size, grey or colours, of 8 or 16 bits."""
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    rows, columns = draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    return draw(arrays(dtype, (rows, columns, draw(st.sampled_from([1, 3])))))
