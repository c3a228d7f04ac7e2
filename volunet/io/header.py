"""What a file says of its voxels before any of them is read: where they lie, their type, how many.

Enough to tell beforehand what a scan will take. Nothing of it is proof: what a header promises is
held against the size of the file, and packed voxels may still be missing, which shows when they are
read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np

from volunet.space.grid import Grid


@dataclass(frozen=True, slots=True)
class Header:
    """A scan that was not read yet.

    Args:
        grid: where its voxels sit.
        channels: of the scan, in one file or several.
        dtype: type of the voxels once they are read.
        stored: type of the voxels in the file; by default the same.
        copies: of all channels in their stored type that reading holds beside what it gives.
    """

    grid: Grid
    channels: int
    dtype: np.dtype[Any]
    stored: np.dtype[Any] | None = None
    copies: int = 0

    @property
    def voxels(self) -> int:
        """Voxels of all channels."""
        return self.channels * prod(self.grid.shape)

    @property
    def nbytes(self) -> int:
        """Memory of the voxels once they are read."""
        return self.voxels * self.dtype.itemsize

    @property
    def reading_bytes(self) -> int:
        """Peak memory of reading them."""
        return self.nbytes + self.copies * self.voxels * (self.stored or self.dtype).itemsize

    @classmethod
    def of_channels(cls, headers: Sequence[Self]) -> Self:
        """The header of a scan with a file for each channel."""
        first = headers[0]
        if len(headers) == 1:
            return first
        dtype = np.result_type(*(header.dtype for header in headers))
        # The files' own voxels are held until they have been put together.
        return cls(first.grid, sum(h.channels for h in headers), dtype, dtype, copies=1)
