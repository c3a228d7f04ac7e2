"""Blend overlapping tiles into one map, a slab at a time: the map never stands in memory whole.

Windows come in order along the first axis, so rows before the current window's start are finished.
A ring as long as a window holds the others::

    rows of the image   0 . . . . . . . . . . . . . . . . n
                        |given away |   in the ring   | not yet seen
                                    ^ start of the current window

Maps are (classes, *S); sums are float32, on the device that the tiles are on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from volunet.errors import ShapeError
from volunet.inference.windows import Tile
from volunet.space.box import Box

Slab = tuple[Box, Tensor]
"""Whole rows of a map: where they are, and (classes, rows, ...)."""


def stitch_slabs(tiles: Iterable[Tile], shape: tuple[int, ...], weights: Tensor) -> Iterator[Slab]:
    """The weighted mean of overlapping tiles, as slabs that follow one another along axis 0.

    A slab is yielded as soon as no later window touches it. Its numbers are those of a sum over the
    whole map, bit for bit.

    Args:
        tiles: windows, in order along axis 0, each with (classes, *window).
        shape: of the map, S.
        weights: of the voxels of a window, (*window), above 0.

    Raises:
        ShapeError: tiles leave voxels uncovered, reach outside, are not of the weights' size, or
            come out of order.
    """
    ring: _Ring | None = None
    for box, tile in tiles:
        _check(box, tile, shape, weights)
        if ring is None:
            ring = _Ring(tile, shape, weights)
        if box.start[0] < ring.first:
            raise ShapeError(
                f"A window at row {box.start[0]} comes after one at row {ring.first}. Give windows "
                f"in order along the first axis."
            )
        if box.start[0] > ring.first:
            yield ring.give(box.start[0])
        ring.add(box, tile)
    if ring is None:
        raise ShapeError(f"There are no tiles to cover {shape}.")
    yield ring.give(shape[0])


class _Ring:
    """Weighted sums of the rows from `first` on; row r lies at r modulo the ring's length."""

    def __init__(self, tile: Tensor, shape: tuple[int, ...], weights: Tensor) -> None:
        self.shape, self.weights = shape, weights.to(tile.device, torch.float32)
        self.length, self.first = len(weights), 0
        size = (self.length, *shape[1:])
        self.total = torch.zeros((len(tile), *size), device=tile.device)
        self.mass = torch.zeros(size, device=tile.device)

    def add(self, box: Box, tile: Tensor) -> None:
        """Adds a tile that starts at the ring's first row."""
        across = box.index[2:]
        weighted = tile.float() * self.weights
        for there, here in self._spans(box.stop[0]):
            self.total[:, there, *across] += weighted[:, here]
            self.mass[there, *across] += self.weights[here]

    def give(self, stop: int) -> Slab:
        """The mean of the rows from `first` up to `stop`, whose places are free from then on."""
        box = Box((self.first, *[0] * (len(self.shape) - 1)), (stop, *self.shape[1:]))
        spans = [there for there, _ in self._spans(stop)]
        if stop - self.first > self.length or not all(self.mass[s].all() for s in spans):
            raise ShapeError(f"The tiles leave voxels of rows {self.first} to {stop} uncovered.")
        rows = torch.cat([self.total[:, s] / self.mass[s] for s in spans], dim=1)
        for span in spans:
            self.total[:, span] = 0
            self.mass[span] = 0
        self.first = stop
        return box, rows

    def _spans(self, stop: int) -> list[tuple[slice, slice]]:
        """Where the rows from `first` up to `stop` lie in the ring, and in a tile."""
        start, count = self.first % self.length, stop - self.first
        head = min(count, self.length - start)
        spans = [(slice(start, start + head), slice(0, head))]
        return spans if head == count else [*spans, (slice(0, count - head), slice(head, count))]


def _check(box: Box, tile: Tensor, shape: tuple[int, ...], weights: Tensor) -> None:
    if not box.shape == tuple(weights.shape) == tuple(tile.shape[1:]):
        raise ShapeError(
            f"A window of {box.shape} has a tile of {tuple(tile.shape[1:])} and weights of "
            f"{tuple(weights.shape)}; all three must be one size."
        )
    if min(box.start) < 0 or any(b > n for b, n in zip(box.stop, shape, strict=True)):
        raise ShapeError(f"The window {box.start} to {box.stop} reaches outside a map of {shape}.")
