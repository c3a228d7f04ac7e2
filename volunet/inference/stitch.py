"""Blend overlapping tiles into one map, a slab at a time: the map never stands in memory whole.

Windows come in order along the first axis, so rows before the current window's start are finished.
A ring as long as a window holds the others::

    rows of the image   0 . . . . . . . . . . . . . . . . n
                        |given away |   in the ring   | not yet seen
                                    ^ start of the current window

Maps are (classes, *S). Sums are computed in float32 and kept in the accumulator's type, on the
device and in the memory layout that the tiles have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from volunet.errors import ShapeError
from volunet.inference.windows import Tile, Tiling
from volunet.space.box import Box

Slab = tuple[Box, Tensor]
"""Whole rows of a map: where they are, and (classes, rows, ...)."""


def stitch_slabs(
    tiles: Iterable[Tile],
    tiling: Tiling,
    *,
    region: Box | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Slab]:
    """The weighted mean of overlapping tiles, as slabs that follow one another along axis 0.

    A slab is yielded as soon as no later window touches it, and is valid until the next one is
    asked for. Its numbers are those of a sum over the whole map, bit for bit. Tiles may be left
    out: logits keep their order among the classes where some of the windows that touch a voxel are
    missing, and are all 0 where all are.

    Args:
        tiles: windows of `tiling`, in its order, each with (classes, *window). One at least.
        region: part of the map that is wanted; all of it by default.
        dtype: of the sums; float16 halves their memory for an error of about 2^-11 of a logit at
            each of the additions.

    Raises:
        ShapeError: a tile is not of its window's size, not of the tiling, or out of order.
    """
    region = region or Box.whole(tiling.shape)
    ring: _Ring | None = None
    for box, tile in tiles:
        _check(box, tile, tiling)
        if ring is None:
            ring = _Ring(tile, tiling, region, dtype)
        if box.start[0] < ring.window:
            raise ShapeError(
                f"A window at row {box.start[0]} comes after one at row {ring.window}. Give "
                f"windows in order along the first axis."
            )
        yield from ring.give(box.start[0])
        ring.add(box, tile)
        del tile  # so that its logits go before the next ones are computed
    if ring is None:
        raise ShapeError(f"There are no tiles to cover {tiling.shape}.")
    yield from ring.give(region.stop[0])


class _Ring:
    """Weighted sums of the rows from `first` on; row r lies at r modulo the ring's length.

    Rows from `blank` on hold what is left of earlier ones, and are cleared when they are needed.
    """

    def __init__(self, tile: Tensor, tiling: Tiling, region: Box, dtype: torch.dtype) -> None:
        self.tiling, self.region = tiling, region
        self.length = min(tiling.patch[0], region.shape[0])
        self.first, self.window = region.start[0], 0
        self.blank = self.first
        self._row: Tensor | None = None
        self.shares = tiling.shares_on(tile.device)  # else each window would wait for its weights
        size = (self.length, *region.shape[1:])
        if tile.ndim > 1 and tile.stride(0) == 1 and len(tile) > 1:
            self.total = torch.empty((*size, len(tile)), dtype=dtype, device=tile.device)
            self.total = self.total.movedim(-1, 0)
        else:
            self.total = torch.empty((len(tile), *size), dtype=dtype, device=tile.device)

    def add(self, box: Box, tile: Tensor) -> None:
        """Adds a tile that starts at or before the ring's first row."""
        self.window = box.start[0]
        low = [max(a, b) for a, b in zip(box.start, self.region.start, strict=True)]
        high = [min(a, b) for a, b in zip(box.stop, self.region.stop, strict=True)]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            return
        weights = self.tiling.weights(box, self.shares)
        here = [slice(a - s, b - s) for a, b, s in zip(low, high, box.start, strict=True)][1:]
        there = [slice(a - s, b - s) for a, b, s in zip(low, high, self.region.start, strict=True)]
        self._clear(high[0])
        for row, (start, stop) in self._spans(low[0], high[0]):
            part = (slice(row - box.start[0], row - box.start[0] + stop - start), *here)
            rows = self.total[:, start:stop, *there[1:]]
            self._accumulate(rows, tile[:, *part], weights[part])

    def _accumulate(self, total: Tensor, tile: Tensor, weights: Tensor) -> None:
        """Adds `tile * weights`, reading and writing each sum once."""
        if total.dtype == tile.dtype:
            total.addcmul_(tile, weights)
            return
        for sums, seen, by in zip(total.unbind(1), tile.unbind(1), weights, strict=True):
            # One row, kept for the next ones: to allocate it each time scatters the heap, which
            # then holds as much again as the ring.
            row = self._row
            if row is None or row.shape != sums.shape:
                row = self._row = torch.empty_like(sums, dtype=torch.float32)
            sums.copy_(row.copy_(sums).addcmul_(seen, by))

    def give(self, stop: int) -> Iterator[Slab]:
        """The mean of the rows from `first` up to `stop`, whose places are free from then on."""
        stop = min(stop, self.region.stop[0])
        while self.first < stop:
            row, (start, end) = next(self._spans(self.first, min(stop, self.first + self.length)))
            self._clear(row + end - start)
            rows = self.total[:, start:end]
            across = self.region.start[1:], self.region.stop[1:]
            yield Box((row, *across[0]), (row + end - start, *across[1])), rows
            self.first = row + end - start

    def _clear(self, stop: int) -> None:
        """Clears the rows up to `stop`, whose places have been given away."""
        for _, (start, end) in self._spans(self.blank, stop):
            self.total[:, start:end].zero_()
        self.blank = max(self.blank, stop)

    def _spans(self, first: int, stop: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Rows from `first` up to `stop`: the first row of each span, and where it lies."""
        while first < stop:
            start = first % self.length
            count = min(stop - first, self.length - start)
            yield first, (start, start + count)
            first += count


def _check(box: Box, tile: Tensor, tiling: Tiling) -> None:
    if not box.shape == tuple(tile.shape[1:]) == tiling.patch:
        raise ShapeError(
            f"A window of {box.shape} has a tile of {tuple(tile.shape[1:])}, and the tiling's "
            f"windows are {tiling.patch}; all three must be one size."
        )
    if any(a not in starts for a, starts in zip(box.start, tiling.starts, strict=True)):
        raise ShapeError(f"The window at {box.start} is none of a tiling of {tiling.shape}.")
