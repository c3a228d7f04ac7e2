"""Arrays in one file that proves itself: a header with their places, and a checksum of every byte.

    magic | length of header | CRC-32 of header | header (JSON) | padding | array | padding | ...

Integers are little-endian; arrays begin at multiples of 64 bytes, so that they can be mapped.
"""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from volunet.io.atomic import write_bytes

MAGIC = b"volunet prepared"
PREFIX = struct.Struct("<16sQI")
ALIGN = 64
CHUNK = 1 << 24
"""Bytes that are copied, or checked, at a time."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What an entry holds: facts as JSON values, and arrays mapped from the file, read-only."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def write_entry(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an entry, whole or not at all.

    Raises:
        WriteError: the disk is full or refuses.
    """
    solid = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    places, end = {}, 0
    for name, array in solid.items():
        places[name] = {"dtype": array.dtype.str, "shape": array.shape, "start": end}
        end += array.nbytes + -array.nbytes % ALIGN
    crc = 0
    for chunk in _chunks(solid):
        crc = isal_zlib.crc32(chunk, crc)
    about = {"facts": dict(facts), "places": places, "crc": crc, "bytes": end}
    header = json.dumps(about).encode()
    header += b" " * (-(PREFIX.size + len(header)) % ALIGN)
    prefix = PREFIX.pack(MAGIC, len(header), isal_zlib.crc32(header))

    def content() -> Iterator[bytes]:
        yield prefix + header
        yield from _chunks(solid)

    write_bytes(path, content())


def read_entry(path: Path, key: str) -> Entry | None:
    """The entry under `path` if each of its bytes is as written and its fact "key" is `key`.

    A map holds its file open, as long as one of its arrays is in use.

    Returns:
        None where the file is missing, cut, changed in any bit, or another entry's.

    Raises:
        OSError: the process has as many files open as it may.
    """
    try:
        with path.open("rb") as file:
            whole: NDArray[np.uint8] = np.memmap(file, dtype=np.uint8, mode="r")
        return _checked(whole, key)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None
    except (ValueError, KeyError, struct.error):
        return None


def _checked(whole: NDArray[np.uint8], key: str) -> Entry:
    """The entry in a mapped file, or a ValueError where it does not prove itself."""
    magic, length, crc = PREFIX.unpack(whole[: PREFIX.size].tobytes())
    header = whole[PREFIX.size : PREFIX.size + length].tobytes()
    if magic != MAGIC or isal_zlib.crc32(header) != crc:
        raise ValueError("the header is not as written")
    about = json.loads(header)
    body = whole[PREFIX.size + length :]
    if about["facts"].get("key") != key or body.size != about["bytes"]:
        raise ValueError("this is another entry, or part of it is missing")
    crc = 0
    for start in range(0, body.size, CHUNK):
        crc = isal_zlib.crc32(body[start : start + CHUNK], crc)
    if crc != about["crc"]:
        raise ValueError("the arrays are not as written")
    arrays = {name: _array(body, **place) for name, place in about["places"].items()}
    return Entry(about["facts"], arrays)


def _array(body: NDArray[np.uint8], dtype: str, shape: list[int], start: int) -> NDArray[Any]:
    kind = np.dtype(dtype)
    stop = start + int(np.prod(shape)) * kind.itemsize
    return body[start:stop].view(kind).reshape(shape)


def _chunks(arrays: Mapping[str, NDArray[Any]]) -> Iterator[bytes]:
    """The bytes of the arrays with their padding."""
    for array in arrays.values():
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, flat.size, CHUNK):
            yield flat[start : start + CHUNK].tobytes()
        yield b"\0" * (-array.nbytes % ALIGN)
