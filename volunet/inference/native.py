"""From logits on the plan's grid to labels on the scan's own, without a map of logits on either.

Every voxel of the scan lies between two neighbouring rows of the plan's grid, so a slab of rows and
the last row before it are all that is needed to finish the voxels between them. And few voxels need
their logits interpolated: where one class is the most likely at all eight corners around a voxel,
it is the most likely anywhere between them, for a linear blend has no larger share of another. Only
voxels at the edge of a structure are blended, so the work hardly grows with the classes.

The answer is that of a linear look-up of every logit, nearest border beyond the grid, then argmax.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from volunet.errors import ShapeError
from volunet.inference.stitch import Slab
from volunet.space.grid import Grid
from volunet.space.lookup import Axes, as_axes, index_map

BLOCK = 1 << 22  # voxels of the scan that are labelled at once
POINTS = 1 << 17  # voxels whose logits are blended at once


def label_native(slabs: Iterable[Slab], plan_grid: Grid, native_grid: Grid) -> NDArray[Any]:
    """The most likely class of each voxel of `native_grid`, in the smallest unsigned type.

    Args:
        slabs: logits (classes, rows, J, K) on `plan_grid`, which follow one another along axis 0.

    Returns:
        (I, J, K) class indices. Exact, without interpolation, where voxels fall on voxels.

    Raises:
        ShapeError: the slabs are not the rows of `plan_grid`, one after another.
    """
    across = index_map(plan_grid, native_grid)
    axes = as_axes(across)
    labels, held = np.empty(0), None
    for box, logits in slabs:
        held = _Held.after(held, box.start[0], logits, plan_grid.shape)
        if labels.size == 0:
            labels = np.empty(native_grid.shape, dtype=np.min_scalar_type(len(logits) - 1))
        if axes is None:
            _label_tilted(labels, held, across)
        else:
            _label_aligned(labels, held, axes)
    if held is None or held.stop != plan_grid.shape[0]:
        seen = 0 if held is None else held.stop
        raise ShapeError(f"The slabs end at row {seen} of {plan_grid.shape[0]}.")
    return labels


@dataclass(frozen=True)
class _Held:
    """The rows of the plan's grid at hand: a slab, and the last row before it.

    Args:
        first: row of the plan's grid that is row 0 here.
        fresh: row of the plan's grid where the slab starts.
        logits: (rows, J, K, classes).
        shape: of the plan's grid.
    """

    first: int
    fresh: int
    logits: Tensor
    shape: tuple[int, int, int]

    @classmethod
    def after(
        cls, before: _Held | None, start: int, slab: Tensor, shape: tuple[int, int, int]
    ) -> _Held:
        """What is at hand once `slab` (classes, rows, J, K) has come."""
        expected = 0 if before is None else before.stop
        if start != expected or slab.shape[2:] != shape[1:] or start + slab.shape[1] > shape[0]:
            raise ShapeError(
                f"A slab of {tuple(slab.shape[1:])} at row {start} came where one at row "
                f"{expected} of a grid of {shape} was due."
            )
        logits = slab.movedim(0, -1)
        if before is None:
            return cls(0, 0, logits.contiguous(), shape)
        return cls(start - 1, start, torch.cat((before.logits[-1:], logits)), shape)

    @property
    def stop(self) -> int:
        """One past the last row of the plan's grid at hand."""
        return self.first + len(self.logits)

    @cached_property
    def best(self) -> Tensor:
        """The most likely class of each voxel at hand, (rows, J, K)."""
        best = self.logits.argmax(dim=-1)
        return best.to(torch.uint8 if self.logits.shape[-1] <= 256 else torch.int32)

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
            low: (n, 3) the voxel before each point.
            share: (n, 3) how far each point is on its way to the next one, in [0, 1).
        """
        rows, columns, depth, classes = self.logits.shape
        last = torch.tensor((rows - 1, columns - 1, depth - 1), device=low.device)
        ends = torch.stack((low, torch.minimum(low + 1, last)), dim=1)
        i, j, k = ends[:, :, None, None, 0], ends[:, None, :, None, 1], ends[:, None, None, :, 2]
        parts = torch.stack((1 - share, share), dim=1)
        a, b, c = parts[:, :, None, None, 0], parts[:, None, :, None, 1], parts[:, None, None, :, 2]
        blended = F.embedding_bag(
            ((i * columns + j) * depth + k).flatten(1),
            self.logits.view(-1, classes),
            per_sample_weights=(a * b * c).flatten(1),
            mode="sum",
        )
        return blended.argmax(dim=1).to(self.best.dtype)

    def owns(self, where: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which coordinates along the rows, within the plan's grid, are finished by this slab."""
        needed = np.ceil(where)
        return np.asarray((needed >= self.fresh) & (needed < self.stop))


def _next(values: Tensor, axis: int) -> Tensor:
    """Each voxel's neighbour along an axis; the last voxel is its own."""
    count = values.shape[axis]
    return torch.cat((values.narrow(axis, 1, count - 1), values.narrow(axis, count - 1, 1)), axis)


def _split(where: NDArray[np.float64], device: torch.device) -> tuple[Tensor, Tensor]:
    """The whole voxel before each coordinate, and the share of the way to the next one."""
    low = np.floor(where)
    share = torch.from_numpy((where - low).astype(np.float32))
    return torch.from_numpy(low.astype(np.int64)).to(device), share.to(device)


def _label_aligned(labels: NDArray[Any], held: _Held, axes: Axes) -> None:
    """Labels what the slab finishes of a scan whose axes run along the plan's."""
    turn = [axes.order.index(axis) for axis in range(3)]
    turned = labels.transpose(turn)
    where = [
        np.clip(axes.coordinates(axis, 0, n), 0, length - 1)
        for axis, n, length in zip(turn, turned.shape, held.shape, strict=True)
    ]
    owned = np.flatnonzero(held.owns(where[0]))
    across = [_split(along, held.logits.device) for along in where[1:]]
    rows = max(1, BLOCK // (turned.shape[1] * turned.shape[2]))
    for first in range(0, len(owned), rows):
        index = owned[first : first + rows]
        down = _split(where[0][index] - held.first, held.logits.device)
        turned[index[0] : index[-1] + 1] = _label_block(held, [down, *across]).cpu().numpy()


def _label_block(held: _Held, lines: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Labels of the voxels at all combinations of coordinates along three axes."""
    best, torn = held.best, None
    if any(share.any() for _, share in lines):
        torn = held.torn
    for axis, (low, _) in enumerate(lines):
        best = best.index_select(axis, low)
        torn = None if torn is None else torn.index_select(axis, low)
    if torn is None:
        return best
    for points in torch.split(torn.nonzero(), POINTS):
        chosen = list(zip(lines, points.unbind(1), strict=True))
        low = torch.stack([line[0][at] for line, at in chosen], dim=1)
        share = torch.stack([line[1][at] for line, at in chosen], dim=1)
        best[points.unbind(1)] = held.blend(low, share)
    return best


def _label_tilted(labels: NDArray[Any], held: _Held, across: NDArray[np.float64]) -> None:
    """Labels what the slab finishes of a scan that is tilted against the plan's grid."""
    last = np.array(held.shape)[:, None] - 1.0
    plane = np.stack(np.meshgrid(*map(np.arange, labels.shape[1:]), indexing="ij")).reshape(2, -1)
    within = across[:3, 1:3] @ plane + across[:3, 3:]
    for row, flat in enumerate(labels.reshape(len(labels), -1)):
        where = np.clip(within + across[:3, :1] * row, 0, last)
        at = np.flatnonzero(held.owns(where[0]))
        for first in range(0, len(at), POINTS):
            some = at[first : first + POINTS]
            low, share = _split(where[:, some].T, held.logits.device)
            low[:, 0] -= held.first
            flat[some] = _label_points(held, low, share).cpu().numpy()


def _label_points(held: _Held, low: Tensor, share: Tensor) -> Tensor:
    """Labels of points anywhere between the voxels at hand."""
    at = low.unbind(1)
    best, torn = held.best[at], held.torn[at]
    best[torn] = held.blend(low[torn], share[torn])
    return best
