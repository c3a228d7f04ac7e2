"""A mask as runs: voxels side by side along the last axis, with where each starts and stops.

The surface of a structure, not the volume of its box, decides how many runs there are, so that
parts and holes of a structure with a speck at the other end of the scan cost little. Places are
counted with one voxel more in a line and one line more in a plane than there are, none of them in
the mask, so that a step of one to a neighbour never leads round a corner::

    places of (I, 2, 3)    0  1  2  .     . belongs to no voxel; stepping from 2 by one, or
                           4  5  6  .     from 5 by a line, lands on such a place
                           .  .  .  .
                          12 13 14  .

Voxels touch by a face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from volunet.space.box import Box
from volunet.space.grid import Shape

BLOCK = 1 << 22  # voxels that are looked at, or written, at once
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a mask, in the order of their places.

    Args:
        shape: of the mask, (I, J, K).
        starts: (n,) the place of each run's first voxel.
        stops: (n,) one past the place of its last.
    """

    shape: Shape
    starts: Places
    stops: Places

    @classmethod
    def where(
        cls, voxels: NDArray[Any], inside: Callable[[NDArray[Any]], NDArray[np.bool_]]
    ) -> Runs:
        """The runs of the voxels (I, J, K) for which `inside` holds; asked a few rows at a time."""
        rows, lines, length = voxels.shape
        step = max(1, BLOCK // (lines * length))
        found = []
        for first in range(0, rows, step):
            block = voxels[first : first + step]
            edges = np.zeros((len(block), lines + 1, length + 1), dtype=bool)
            edges[:, :lines, :length] = inside(block)
            edges[:, :lines, 1:] ^= edges[:, :lines, :length].copy()
            found.append(np.flatnonzero(edges) + first * (lines + 1) * (length + 1))
        places = np.concatenate(found)
        return cls((rows, lines, length), places[::2], places[1::2])

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Places:
        """Voxels of each run."""
        return self.stops - self.starts

    @property
    def voxels(self) -> int:
        """Voxels of the mask."""
        return int(self.lengths.sum())

    @property
    def ends(self) -> NDArray[np.int64]:
        """The first and the last voxel of each run, (2 n, 3)."""
        plane, line, _ = _steps(self.shape)
        row, rest = np.divmod(np.concatenate((self.starts, self.stops - 1)), plane)
        return np.stack((row, *np.divmod(rest, line)), axis=1)

    @property
    def box(self) -> Box | None:
        """The smallest box that holds the mask; None where it is empty."""
        if not len(self):
            return None
        low, high = self.ends.min(axis=0), self.ends.max(axis=0) + 1
        return Box(tuple(low.tolist()), tuple(high.tolist()))

    @cached_property
    def parts(self) -> NDArray[np.int64]:
        """The number of the part that each run belongs to: 0 for the largest, then 1, ...

        Of parts of one size the one that comes first in the order of places has the lower number.
        """
        plane, line, _ = _steps(self.shape)
        pairs = [self.pairs(self, step) for step in (plane, line)]
        here, there = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
        links = coo_array((np.ones(len(here), dtype=bool), (here, there)), shape=(len(self),) * 2)
        _, found = connected_components(links, directed=False)
        _, first, part = np.unique(found, return_index=True, return_inverse=True)
        sizes = np.bincount(part, weights=self.lengths, minlength=len(first))
        order = np.lexsort((first, -sizes))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[part]

    @cached_property
    def sizes(self) -> Places:
        """Voxels of each part, largest first."""
        return self.sums(self.lengths)

    def sums(self, values: NDArray[Any]) -> Places:
        """What a whole number for each run sums to over each part, largest part first."""
        count = int(self.parts.max(initial=-1)) + 1
        return np.bincount(self.parts, weights=values, minlength=count).astype(np.int64)

    def pick(self, chosen: NDArray[np.bool_]) -> Runs:
        """Some of the runs."""
        return Runs(self.shape, self.starts[chosen], self.stops[chosen])

    def joined(self, other: Runs) -> Runs:
        """The runs of two masks that share no voxel; runs that touch stay two."""
        starts = np.concatenate((self.starts, other.starts))
        order = np.argsort(starts, kind="stable")
        return Runs(self.shape, starts[order], np.concatenate((self.stops, other.stops))[order])

    def outside(self) -> Runs:
        """The runs of all other voxels."""
        rows, lines, length = self.shape
        plane, line, _ = _steps(self.shape)
        begins = (np.arange(rows)[:, None] * plane + np.arange(lines) * line).ravel()
        starts = np.sort(np.concatenate((begins, self.stops)))
        stops = np.sort(np.concatenate((begins + length, self.starts)))
        held = starts < stops
        return Runs(self.shape, starts[held], stops[held])

    def pairs(self, other: Runs, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which runs, moved by `step` places, share voxels with which runs of `other`."""
        first = np.searchsorted(other.stops, self.starts + step, side="right")
        last = np.searchsorted(other.starts, self.stops + step, side="left")
        count = np.maximum(last - first, 0)
        here = np.repeat(np.arange(len(self)), count)
        there = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
        return here, there

    def shared(self, other: Runs) -> Places:
        """How many voxels of each run are in the other mask too."""
        here, there = self.pairs(other, 0)
        both = np.minimum(self.stops[here], other.stops[there])
        both -= np.maximum(self.starts[here], other.starts[there])
        return np.bincount(here, weights=both, minlength=len(self)).astype(np.int64)

    def touching(self, other: Runs) -> NDArray[np.bool_]:
        """Which runs have a voxel beside one of the other mask."""
        touches = np.zeros(len(self), dtype=bool)
        for step in _steps(self.shape):
            for way in (-step, step):
                touches[self.pairs(other, way)[0]] = True
        return touches

    def at_border(self) -> NDArray[np.bool_]:
        """Which runs have a voxel at a face of the array."""
        rows, lines, length = self.shape
        plane, line, _ = _steps(self.shape)
        row, rest = np.divmod(self.starts, plane)
        column, start = np.divmod(rest, line)
        ends = (start == 0) | (start + self.lengths == length)
        sides = (row == 0) | (row == rows - 1) | (column == 0) | (column == lines - 1)
        return np.asarray(ends | sides)

    def write(self, value: int, voxels: NDArray[Any]) -> None:
        """Sets the voxels (I, J, K) of the mask."""
        plane, line, _ = _steps(self.shape)
        many = max(1, BLOCK // self.shape[2])
        for first in range(0, len(self), many):
            lengths = self.lengths[first : first + many]
            places = np.arange(lengths.sum())
            before = np.cumsum(lengths) - lengths
            places += np.repeat(self.starts[first : first + many] - before, lengths)
            row, rest = np.divmod(places, plane)
            voxels[row, rest // line, rest % line] = value


def _steps(shape: Shape) -> tuple[int, int, int]:
    """How many places the next voxel along each axis is away."""
    line = shape[2] + 1
    return (shape[1] + 1) * line, line, 1
