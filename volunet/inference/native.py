"""From logits on the plan's grid to labels on the scan's own, without a map of logits on either.

Every voxel of the scan lies between two neighbouring rows of the plan's grid, so a slab of rows and
the last row before it are all that is needed to finish the voxels between them.

The answer is that of a linear look-up of every logit, nearest border beyond the grid, then argmax.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.errors import ShapeError
from volunet.inference.held import Held
from volunet.inference.rule import MOST_LIKELY, Rule
from volunet.inference.stitch import Slab
from volunet.space.grid import Grid
from volunet.space.lookup import Axes, as_axes, index_map
from volunet.space.spline import nearest_rows

BLOCK = 1 << 22  # voxels of the scan that are labelled at once
POINTS = 1 << 17  # voxels whose logits are blended at once

Reach = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""Half-open ranges of coordinates along the three axes of the plan's grid."""

EVERYWHERE: Reach = ((-inf, inf), (-inf, inf), (-inf, inf))


@dataclass(frozen=True, slots=True)
class Slices:
    """Thick slices, which are copied to the scan's voxels nearest to them and not blended.

    Which one is nearest is told by the whole prepared scan, whose edges are edges of voxels of the
    scan; the edges of a part of it need not be.

    Args:
        axis: of the plan's grid, across the slices.
        count: of the whole prepared scan.
        start: where the plan's grid starts in that.
    """

    axis: int
    count: int
    start: int = 0


def label_native(
    slabs: Iterable[Slab],
    plan_grid: Grid,
    native_grid: Grid,
    *,
    reach: Reach = EVERYWHERE,
    labels: NDArray[Any] | None = None,
    rule: Rule = MOST_LIKELY,
    slices: Slices | None = None,
) -> NDArray[Any]:
    """The class of each voxel of `native_grid`, in the smallest unsigned type.

    Args:
        slabs: logits (classes, rows, J, K) on `plan_grid`, which follow one another along axis 0.
            Each may use the memory of the one before.
        reach: voxels of the scan whose coordinates in `plan_grid` lie outside it are left as they
            are. The slabs hold the voxels on both sides of every coordinate in reach.
        labels: (I, J, K) to write to; by default zeros.
        rule: how logits make a class.
        slices: along whose axis logits are not blended: voxels between the edges take those of
            the slice that is nearest. The scan must not be tilted against them.

    Returns:
        (I, J, K) class indices. Exact, without interpolation, where voxels fall on voxels.

    Raises:
        ShapeError: the slabs do not follow one another, or do not hold what is in reach; or
            slices are to be copied, and the scan is tilted.
    """
    across = index_map(plan_grid, native_grid)
    axes = as_axes(across)
    if axes is None and slices is not None:
        raise ShapeError("Slices can only be copied to a scan that is not tilted against them.")
    first, stop = _rows_in(reach[0], plan_grid.shape[0])
    held = None
    for box, logits in slabs:
        if held is None and box.start[0] > first:
            raise ShapeError(f"The slabs start at row {box.start[0]}; row {first} is in reach.")
        held = Held.after(held, box, logits, rule)
        if labels is None:
            labels = np.zeros(native_grid.shape, dtype=np.min_scalar_type(rule.most(len(logits))))
        if axes is None:
            _label_tilted(labels, held, across, plan_grid.shape, reach)
        else:
            lines = _coordinates(axes, native_grid.shape, plan_grid.shape, slices)
            _label_aligned(labels, held, axes.order, lines, plan_grid.shape, reach)
        held.leave()
    if held is None or labels is None or held.stop < stop:
        seen = 0 if held is None else held.stop
        raise ShapeError(f"The slabs end at row {seen} of {stop}.")
    return labels


def _rows_in(reach: tuple[float, float], rows: int) -> tuple[int, int]:
    """The rows of the plan's grid that coordinates in reach draw on."""
    low, high = reach
    first = max(0, floor(low)) if low > -inf else 0
    stop = min(rows, floor(high) + 1) if high < inf else rows
    return first, stop


def _split(where: NDArray[np.float64], device: torch.device) -> tuple[Tensor, Tensor]:
    """The whole voxel before each coordinate, and the share of the way to the next one."""
    low = np.floor(where)
    share = torch.from_numpy((where - low).astype(np.float32))
    return torch.from_numpy(low.astype(np.int64)).to(device), share.to(device)


def _coordinates(
    axes: Axes, native: tuple[int, ...], plan: tuple[int, ...], slices: Slices | None
) -> list[NDArray[np.float64]]:
    """Where the scan's voxels lie along each axis of the plan's grid."""
    lines = []
    for axis in range(len(plan)):
        own = axes.order.index(axis)
        along = axes.coordinates(own, 0, native[own])
        if slices is not None and axis == slices.axis:
            whole = along + slices.start
            (between,) = np.nonzero((whole > -0.5) & (whole < slices.count - 0.5))
            rows = nearest_rows(slices.count, len(between)) - slices.start
            along[between] = rows if axes.step[own] > 0 else rows[::-1]
        lines.append(along)
    return lines


def _label_aligned(
    labels: NDArray[Any],
    held: Held,
    order: tuple[int, int, int],
    lines: list[NDArray[np.float64]],
    shape: tuple[int, int, int],
    reach: Reach,
) -> None:
    """Labels what the slab finishes of a scan whose axes run along the plan's."""
    turn = [order.index(axis) for axis in range(3)]
    turned = labels.transpose(turn)
    where, chosen = [], []
    for along, (low, high), length in zip(lines, reach, shape, strict=True):
        chosen.append(np.flatnonzero((along >= low) & (along < high)))
        where.append(np.clip(along, 0, length - 1))
    chosen[0] = chosen[0][held.owns(where[0][chosen[0]])]
    if not all(map(len, chosen)):
        return
    down, *across = (
        along[index] - first for along, index, first in zip(where, chosen, held.origin, strict=True)
    )
    sides = [_split(along, held.device) for along in across]
    columns, depth = (slice(index[0], index[-1] + 1) for index in chosen[1:])
    rows = max(1, BLOCK // (len(chosen[1]) * len(chosen[2])))
    for first in range(0, len(down), rows):
        block = _label_block(held, [_split(down[first : first + rows], held.device), *sides])
        index = chosen[0][first : first + rows]
        turned[index[0] : index[-1] + 1, columns, depth] = block.cpu().numpy()


def _label_block(held: Held, lines: list[tuple[Tensor, Tensor]]) -> Tensor:
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


def _label_tilted(
    labels: NDArray[Any],
    held: Held,
    across: NDArray[np.float64],
    shape: tuple[int, int, int],
    reach: Reach,
) -> None:
    """Labels what the slab finishes of a scan that is tilted against the plan's grid."""
    last = np.array(shape)[:, None] - 1.0
    least, most = np.array(reach).T[:, :, None]
    plane = np.stack(np.meshgrid(*map(np.arange, labels.shape[1:]), indexing="ij")).reshape(2, -1)
    within = across[:3, 1:3] @ plane + across[:3, 3:]
    for row, flat in enumerate(labels.reshape(len(labels), -1)):
        where = within + across[:3, :1] * row
        inside = ((where >= least) & (where < most)).all(axis=0)
        where = np.clip(where, 0, last)
        at = np.flatnonzero(inside & held.owns(where[0]))
        for first in range(0, len(at), POINTS):
            some = at[first : first + POINTS]
            low, share = _split(where[:, some].T - np.array(held.origin), held.device)
            flat[some] = _label_points(held, low, share).cpu().numpy()


def _label_points(held: Held, low: Tensor, share: Tensor) -> Tensor:
    """Labels of points anywhere between the voxels at hand."""
    at = low.unbind(1)
    best, torn = held.best[at], held.torn[at]
    best[torn] = held.blend(low[torn], share[torn])
    return best
