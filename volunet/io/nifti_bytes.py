"""The plain bytes of a file, packed with gzip or not, in bounded chunks and checked to the end.

The checksum of gzip stands behind the data (RFC 1952), so only a stream that was read to its end
is known to be whole; isal does this at a third of the cost of zlib. Several members in a row are
one stream; whatever else follows is left alone, and noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from volunet.findings import Refused, Severity
from volunet.io.inquiry import Inquiry

CHUNK = 1 << 18
GZIP = b"\x1f\x8b"
RATIO = 1100
"""Deflate packs at most 1032 bytes into one; claims beyond are false."""
SURPLUS = 1 << 26
"""Bytes of packed data behind the voxels that are read for the checksum's sake, and no more."""
PADDING = 512
"""Fewer bytes than this may fill up a block behind the voxels, however small a slice is."""
SAYS_LESS = (
    "The header may say less than the file holds: set dim and data type right, or accept "
    "IO-TRAILING to leave the rest out."
)


class Stream:
    """The plain bytes of an open file, read once from front to end.

    Args:
        file: open for reading.
        inquiry: is told of damage; refusals are raised from it.
        start: where in the file the stream begins.
        zlib: the bytes are packed with zlib (RFC 1950); gzip shows by itself.
    """

    def __init__(
        self, file: BinaryIO, inquiry: Inquiry, *, start: int = 0, zlib: bool = False
    ) -> None:
        self.inquiry = inquiry
        self.size = file.seek(0, 2) - start
        file.seek(start)
        self._gzip = file.read(2) == GZIP and not zlib
        self.packed = self._gzip or zlib
        file.seek(start)
        self._file = file
        self._chunks = self._unpacked() if self.packed else iter(lambda: file.read(CHUNK), b"")
        self._rest = b""

    @property
    def most(self) -> int:
        """The most plain bytes that the file can hold."""
        return self.size * RATIO if self.packed else self.size

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or as many as are left, which stay to be read."""
        while len(self._rest) < count and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        return self._rest[:count]

    def fill(self, buffer: NDArray[np.uint8]) -> int:
        """Fill `buffer` (N,) with the next bytes; how many there were."""
        view, filled = memoryview(buffer.data), 0
        while filled < len(view) and (chunk := self._next()):
            taken = min(len(chunk), len(view) - filled)
            view[filled : filled + taken] = chunk[:taken]
            self._rest = chunk[taken:]
            filled += taken
        return filled

    def checksum(self, count: int) -> tuple[int, int]:
        """Pass over `count` bytes; how many there were, and their CRC-32."""
        passed, crc = 0, 0
        while passed < count and (chunk := self._next()):
            taken = min(len(chunk), count - passed)
            self._rest = chunk[taken:]
            crc = isal_zlib.crc32(chunk[:taken], crc)
            passed += taken
        return passed, crc

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; how many there were."""
        return self.checksum(count)[0]

    def judge_claim(self, expected: int, *, before: int = 0) -> None:
        """Nothing, where the file can hold what its header says; no memory is taken for it.

        Args:
            expected: plain bytes of voxels.
            before: plain bytes in front of them.

        Raises:
            Refused: it cannot.
        """
        if before + expected > self.most:
            got = self.skip(before + expected) if self.packed else self.size
            raise self.lacking(expected, max(got - before, 0))

    def lacking(self, expected: int, got: int) -> Refused:
        """The refusal of a file at whose end there were fewer bytes of voxels than expected.

        Packed data that was cut is refused while it is read. What comes to an end of its own, and
        could not have held so much, was never whole.
        """
        if self.packed and expected > self.most:
            message = f"The header claims {expected} bytes of voxels in a file of {self.size}."
            return self.inquiry.refusal("IO-BOMB", message, claimed=expected, size=self.size)
        message = f"The voxels take {expected} bytes, the file holds {got} of them."
        return self.inquiry.refusal("IO-TRUNC", message, expected=expected, got=got)

    def finish(self) -> int:
        """Read to the end, so that the checksum is known; how many bytes were left.

        Raises:
            Refused: damage, or far more bytes than a scan has behind its voxels.
        """
        left = 0
        while chunk := self._next():
            left += len(chunk)
            if self.packed and left > SURPLUS:
                message = f"More than {SURPLUS >> 20} MB follow the voxels, and were not read."
                advice = "Set dim and data type right where they say less than the file holds."
                raise self.inquiry.refusal("IO-TRAILING", message, advice=advice, left=left)
        return left

    def judge_rest(self, slice_bytes: int) -> None:
        """Reads to the end, and notes what follows the voxels; as much as a slice may be of them.

        Raises:
            Refused: as `finish`.
        """
        left = self.finish()
        message = f"{left} bytes follow the voxels."
        if left >= slice_bytes and (left >= PADDING or left % slice_bytes == 0):
            message = f"{left} bytes follow the voxels, of which a slice takes {slice_bytes}."
            refuse = Severity.REFUSE
            self.inquiry.note("IO-TRAILING", message, severity=refuse, advice=SAYS_LESS, left=left)
        elif left:
            self.inquiry.note("IO-TRAILING", message, left=left)

    def _next(self) -> bytes:
        chunk, self._rest = self._rest, b""
        return chunk or next(self._chunks, b"")

    def _unpacked(self) -> Iterator[bytes]:
        packed = self._file.read(CHUNK)
        while packed:
            kind = igzip_lib.DECOMP_GZIP if self._gzip else igzip_lib.DECOMP_ZLIB
            member = igzip_lib.IgzipDecompressor(flag=kind)
            yield from self._member(member, packed)
            packed = member.unused_data
            if len(packed) < len(GZIP):
                packed += self._file.read(CHUNK)
            if packed and not (self._gzip and packed.startswith(GZIP)):
                here = self._file.tell()
                left = len(packed) + self._file.seek(0, 2) - here
                self.inquiry.note("IO-TRAILING", f"{left} bytes follow the packed data.", left=left)
                return

    def _member(self, member: igzip_lib.IgzipDecompressor, packed: bytes) -> Iterator[bytes]:
        """The plain bytes of one gzip member."""
        while not member.eof:
            try:
                chunk = member.decompress(packed, 4 * CHUNK)
            except igzip_lib.IsalError as error:  # type: ignore[misc] # a wrong stub
                raise self.inquiry.refusal(
                    "IO-CRC", f"The compressed data is damaged ({error})."
                ) from error
            if chunk:
                yield chunk
            packed = b""
            if member.needs_input and not member.eof:
                packed = self._file.read(CHUNK)
                if not packed:
                    raise self.inquiry.refusal(
                        "IO-TRUNC",
                        f"The compressed data stops after {self.size} bytes, before its end.",
                        size=self.size,
                    )
