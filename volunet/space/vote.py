"""The label with the largest linear share of each voxel, added up only where labels meet.

A linear look-up weighs the eight voxels around a point. Where all eight have one label, it has the
whole share; only points between voxels that differ need their shares added up, so the work hardly
grows with the number of labels. Arrays are (I, J, K); beyond the border lies its nearest voxel.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.space.lookup import coordinates

POINTS = 1 << 15
"""Points whose shares are added up at a time."""
TIE = 1e-6
"""Shares this close are equal; the smaller label wins."""


def vote(
    source: NDArray[Any], across: NDArray[np.float64], shape: tuple[int, int, int], slab: int
) -> NDArray[Any]:
    """A label map as seen on a lattice of `shape`, in its own type.

    Args:
        across: (4, 4), voxel indices of the lattice to those of `source`.
        slab: rows of the lattice that are looked up at a time.
    """
    torn = _find_torn(source)
    seen = np.empty(shape, dtype=source.dtype)
    for first in range(0, shape[0], slab):
        rows = seen[first : first + slab]
        where = [
            np.clip(w, 0, n - 1)
            for w, n in zip(coordinates(across, first, rows.shape), source.shape, strict=True)
        ]
        low = tuple(np.floor(w).astype(np.intp) for w in where)
        rows[...] = source[low]
        between = np.flatnonzero(torn[low])
        for start in range(0, between.size, POINTS):
            some = np.unravel_index(between[start : start + POINTS], rows.shape)
            points = [np.broadcast_to(w, rows.shape)[some] for w in where]
            rows[some] = _most_shared(source, points)
    return seen


def _find_torn(source: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the eight voxels from each voxel on differ; the last of an axis is its own next."""
    least = most = source
    for axis, length in enumerate(source.shape):
        following = np.minimum(np.arange(1, length + 1), length - 1)
        least = np.minimum(least, least.take(following, axis))
        most = np.maximum(most, most.take(following, axis))
    return np.asarray(least != most)


def _most_shared(source: NDArray[Any], points: list[NDArray[np.float64]]) -> NDArray[Any]:
    """The label with the largest share at points inside the source, three coordinates (n,) each."""
    low = [np.floor(p).astype(np.intp) for p in points]
    parts = [(1 - (p - at), p - at) for p, at in zip(points, low, strict=True)]
    ends = [(at, np.minimum(at + 1, n - 1)) for at, n in zip(low, source.shape, strict=True)]
    labels = np.stack([source[corner] for corner in product(*ends)])
    weights = np.stack([i * j * k for i, j, k in product(*parts)])
    shares = np.einsum("dn,cdn->cn", weights, labels[:, None] == labels)
    wins = shares >= shares.max(axis=0) - TIE
    return np.asarray(np.where(wins, labels, labels.max(axis=0)).min(axis=0))
