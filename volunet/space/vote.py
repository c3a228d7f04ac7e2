"""The label with the largest linear share of each voxel, found where labels meet.

A linear look-up weighs the eight voxels around a point. Where all eight have one label, it has the
whole share; only the few points between voxels that differ need their shares added up, so the work
hardly grows with the number of labels. Arrays are (I, J, K); beyond the border lies its nearest
voxel.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.space.lookup import Axes

POINTS = 1 << 16
"""Points whose shares are added up at a time."""
TIE = 1e-6
"""Shares this close are equal; the smaller label wins."""


def vote(
    source: NDArray[Any],
    across: NDArray[np.float64],
    axes: Axes | None,
    shape: tuple[int, int, int],
    slab: int,
) -> NDArray[Any]:
    """A label map as seen on a lattice of `shape`, in its own type.

    Args:
        across: (4, 4), voxel indices of the lattice to those of `source`.
        axes: the same map axis by axis, None where it tilts.
        slab: rows of the lattice that are looked up at a time.
    """
    if axes is not None:
        source = source.transpose(axes.order)
    torn = _find_torn(source)
    seen = np.empty(shape, dtype=source.dtype)
    for first in range(0, shape[0], slab):
        rows = seen[first : first + slab]
        where = _coordinates(across, axes, first, rows.shape)
        where = [np.clip(w, 0, n - 1) for w, n in zip(where, source.shape, strict=True)]
        low = tuple(np.floor(w).astype(np.intp) for w in where)
        rows[...] = source[low]
        edge = np.flatnonzero(torn[low])
        for some in np.split(edge, range(POINTS, edge.size, POINTS)):
            points = [np.broadcast_to(w, rows.shape).reshape(-1)[some] for w in where]
            rows.reshape(-1)[some] = _most_shared(source, np.stack(points))
    return seen
