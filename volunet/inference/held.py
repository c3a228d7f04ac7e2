"""A few neighbouring rows of logits, and what they say between their voxels.

Where one class is the most likely at all eight corners around a point, it is the most likely at
the point, for a linear blend has no larger share of another. So only voxels at the edge of a
structure need their logits blended, and the work hardly grows with the classes.

Logits are (classes, rows, J, K) in any memory layout and float type; blends are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from volunet.errors import ShapeError
from volunet.inference.rule import MOST_LIKELY, Rule
from volunet.space.box import Box


@dataclass(frozen=True)
class Held:
    """The rows of a map at hand: a slab, and the last row before it.

    Args:
        box: of the slab in the map.
        slab: (classes, rows, J, K), which need not outlive the next slab.
        before: (classes, 1, J, K), the row before the slab; None for the first slab.
        rule: how logits make a class.
    """

    box: Box
    slab: Tensor
    before: Tensor | None = None
    rule: Rule = MOST_LIKELY

    @classmethod
    def after(cls, last: Held | None, box: Box, slab: Tensor, rule: Rule = MOST_LIKELY) -> Held:
        """What is at hand once the next slab has come.

        Raises:
            ShapeError: it does not follow the last one.
        """
        if tuple(slab.shape[1:]) != box.shape:
            raise ShapeError(f"A slab of {tuple(slab.shape[1:])} came for the box {box.shape}.")
        if last is None:
            return cls(box, slab, rule=rule)
        same = box.start[1:] == last.box.start[1:] and box.stop[1:] == last.box.stop[1:]
        if box.start[0] != last.box.stop[0] or not same:
            raise ShapeError(
                f"A slab at row {box.start[0]}, {box.start[1:]} to {box.stop[1:]}, came where the "
                f"one at row {last.box.stop[0]}, {last.box.start[1:]} to {last.box.stop[1:]}, was "
                f"due."
            )
        return cls(box, slab, last._last, rule)

    def leave(self) -> None:
        """Takes a copy of the last row, before the slab's memory is used for the next one."""
        _ = self._last

    @cached_property
    def _last(self) -> Tensor:
        return self.slab[:, -1:].clone()

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The rows at hand, in order."""
        return (self.slab,) if self.before is None else (self.before, self.slab)

    @property
    def origin(self) -> tuple[int, int, int]:
        """Where in the map the first voxel at hand lies."""
        row, column, depth = self.box.start
        return row - (self.before is not None), column, depth

    @property
    def stop(self) -> int:
        """One past the last row at hand."""
        return self.box.stop[0]

    @property
    def device(self) -> torch.device:
        """Where the logits lie."""
        return self.slab.device

    @cached_property
    def best(self) -> Tensor:
        """The most likely class of each voxel at hand, (rows, J, K)."""
        return torch.cat([self.rule.of_map(part) for part in self.parts])

    @cached_property
    def torn(self) -> Tensor:
        """Whether the eight voxels from each voxel on, (rows, J, K), differ in their class."""
        least = most = self.best
        for axis in range(3):
            least = torch.minimum(least, _next(least, axis))
            most = torch.maximum(most, _next(most, axis))
        return least != most

    def blend(self, low: Tensor, share: Tensor) -> Tensor:
        """The most likely class between voxels, (n,).

        Args:
            low: (n, 3) the voxel before each point, counted from `origin`.
            share: (n, 3) how far each point is on its way to the next one, in [0, 1).
        """
        rows, columns, depth = self.best.shape
        last = torch.tensor((rows - 1, columns - 1, depth - 1), device=low.device)
        ends = torch.stack((low, torch.minimum(low + 1, last)), dim=1)
        i, j, k = ends[:, :, None, None, 0], ends[:, None, :, None, 1], ends[:, None, None, :, 2]
        parts = torch.stack((1 - share, share), dim=1)
        a, b, c = parts[:, :, None, None, 0], parts[:, None, :, None, 1], parts[:, None, None, :, 2]
        place, table = self._edge
        blended = F.embedding_bag(
            place[((i * columns + j) * depth + k).flatten(1)],
            table,
            per_sample_weights=(a * b * c).flatten(1),
            mode="sum",
        )
        return self.rule.of_voxels(blended).to(self.best.dtype)

    @cached_property
    def _edge(self) -> tuple[Tensor, Tensor]:
        """The logits of all voxels that are a corner of a torn one, (n, classes), and their places.

        Only these are turned so that a voxel's classes lie side by side.
        """
        near = self.torn.view(torch.uint8)
        for axis in range(3):
            near = torch.maximum(near, _previous(near, axis))
        place = torch.zeros(near.numel(), dtype=torch.int32, device=near.device)
        columns, first = [], 0
        for part in self.parts:
            size = part[0].numel()
            at = near.view(-1)[first : first + size].nonzero()[:, 0]
            columns.append(_columns(part, at))
            place[first + at] = torch.arange(
                sum(map(len, columns[:-1])), sum(map(len, columns)), dtype=torch.int32
            ).to(near.device)
            first += size
        return place, torch.cat(columns)

    def owns(self, where: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which coordinates along the rows of the map, within it, are finished by this slab."""
        needed = np.ceil(where)
        return np.asarray((needed >= self.box.start[0]) & (needed < self.stop))


def _columns(part: Tensor, at: Tensor) -> Tensor:
    """The logits (n, classes) of some voxels of (classes, *S), by their index in S, in float32."""
    if part.stride(0) == 1:
        index = torch.unravel_index(at, part.shape[1:])
        return part.movedim(0, -1)[index].float()
    flat = [part[c].reshape(-1).index_select(0, at) for c in range(len(part))]
    return torch.stack(flat, dim=1).float()


def _next(values: Tensor, axis: int) -> Tensor:
    """Each voxel's neighbour along an axis; the last voxel is its own."""
    count = values.shape[axis]
    return torch.cat((values.narrow(axis, 1, count - 1), values.narrow(axis, count - 1, 1)), axis)


def _previous(values: Tensor, axis: int) -> Tensor:
    """Each voxel's neighbour before it along an axis; the first voxel is its own."""
    count = values.shape[axis]
    return torch.cat((values.narrow(axis, 0, 1), values.narrow(axis, 0, count - 1)), axis)
