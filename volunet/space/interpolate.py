"""Interpolation of a slab of rows, along whole axes or at free points.

Tensors are (C, I, J, K); coordinates are computed in float64 and used in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.space.lookup import Axes, coordinates

Method = Literal["nearest", "linear", "cubic"]
Beyond = Literal["zeros", "border"]
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


def sample_axes(
    fetch: Callable[[int, int], Tensor],
    lengths: tuple[int, ...],
    axes: Axes,
    rows: tuple[int, int],
    shape: tuple[int, int, int],
    method: Method,
    beyond: Beyond,
) -> Tensor:
    """Rows `rows` of the target, one axis after another: (C, rows, J, K).

    Args:
        fetch: the source from one row to another, its axes in the order of the target's.
        lengths: of the source's axes, in that order.
    """
    index, weight = taps(axes.coordinates(0, *rows), lengths[0], method, beyond)
    first, last = min(int(at.min()) for at in index), max(int(at.max()) for at in index)
    seen = _gather(fetch(first, last + 1), 1, [at - first for at in index], weight)
    for axis in (1, 2):
        where = axes.coordinates(axis, 0, shape[axis])
        index, weight = taps(where, lengths[axis], method, beyond)
        seen = _gather(seen, axis + 1, index, weight)
    return seen


def sample_points(
    source: Tensor,
    across: NDArray[np.float64],
    rows: tuple[int, int],
    shape: tuple[int, int, int],
    method: Method,
    beyond: Beyond,
) -> Tensor:
    """Rows `rows` of a target that tilts against the source: (C, rows, J, K)."""
    size = (rows[1] - rows[0], *shape[1:])
    place = [np.broadcast_to(p, size).ravel() for p in coordinates(across, rows[0], size)]
    found = [taps(p, n, method, beyond) for p, n in zip(place, source.shape[1:], strict=True)]
    flat = source.reshape(source.shape[0], -1)
    strides = (source.shape[2] * source.shape[3], source.shape[3], 1)
    kind = source.dtype if method == "nearest" else torch.float32
    seen = torch.zeros(source.shape[0], int(np.prod(size)), dtype=kind, device=source.device)
    for chosen in product(range(TAPS[method]), repeat=3):
        index = sum(f[0][t] * s for f, t, s in zip(found, chosen, strides, strict=True))
        weight = np.prod([f[1][t] for f, t in zip(found, chosen, strict=True)], axis=0)
        at = torch.from_numpy(np.asarray(index)).to(source.device)
        by = torch.from_numpy(weight).to(seen)
        seen.addcmul_(flat[:, at].to(kind), by)
    return seen.reshape(source.shape[0], *size)


def taps(
    where: NDArray[np.float64], length: int, method: Method, beyond: Beyond
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
    """The source voxels that each coordinate draws on, and their weights.

    Args:
        where: (n,) source coordinates in voxels.
        length: voxels of the source along this axis.

    Returns:
        For each tap an index (n,) inside the source and a weight (n,).
    """
    if method == "nearest":
        low, share = np.floor(where + 0.5), [np.ones_like(where)]
        offsets = [0]
    else:
        low = np.floor(where)
        t = where - low
        offsets = [0, 1] if method == "linear" else [-1, 0, 1, 2]
        share = [1 - t, t] if method == "linear" else _keys(t)
    index, weight = [], []
    for offset, part in zip(offsets, share, strict=True):
        at = low + offset
        inside = (at >= 0) & (at < length)
        index.append(np.clip(at, 0, length - 1).astype(np.int64))
        weight.append(np.where(inside, part, 0.0) if beyond == "zeros" else part)
    return index, weight


def _keys(t: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weights of the voxels at -1, 0, 1, 2 for a point at t in [0, 1] (Keys 1981, eq. 13)."""
    return [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]


def _gather(
    source: Tensor, dim: int, index: list[NDArray[np.int64]], weight: list[NDArray[np.float64]]
) -> Tensor:
    """The weighted sum of rows of `source` along `dim`."""
    used = [tap for tap in zip(index, weight, strict=True) if tap[1].any()]
    first, *others = used or [(index[0], weight[0])]
    as_it_is = np.array_equal(first[0], np.arange(source.shape[dim])) and (first[1] == 1).all()
    if as_it_is and not others:
        return source
    seen = _weighted(source, dim, *first)
    for tap in others:
        seen += _weighted(source, dim, *tap)
    return seen


def _weighted(source: Tensor, dim: int, at: NDArray[np.int64], by: NDArray[np.float64]) -> Tensor:
    rows = source.index_select(dim, torch.from_numpy(at).to(source.device))
    if (by == 1).all():
        return rows
    shape = [-1 if d == dim else 1 for d in range(source.ndim)]
    return rows * torch.from_numpy(by).to(rows).reshape(shape)
