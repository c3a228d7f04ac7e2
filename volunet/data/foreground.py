"""Voxels of structures, kept beside a prepared case so that patches can be centred on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 20
"""Voxels that are looked through at a time."""

MOST_SAMPLES = 5000
"""Voxels of each structure that are kept to centre patches on."""


def sample_foreground(
    index: NDArray[Any], classes: int, rng: np.random.Generator, *, most: int = MOST_SAMPLES
) -> dict[int, NDArray[np.int32]]:
    """Some voxels of each structure that occurs.

    Args:
        index: class indices (I, J, K).
        classes: classes from here up (the ignore index) are no structures.
        most: voxels of each structure, at most.

    Returns:
        Coordinates (n, 3) by class index, in the order of the array; {} for all background.
    """
    flat = np.ascontiguousarray(index).reshape(-1)
    parts = [(start, flat[start : start + CHUNK]) for start in range(0, flat.size, CHUNK)]
    counts = sum((np.bincount(part, minlength=classes + 1) for _, part in parts), np.zeros(1, int))
    ranks = {
        c: np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))
        for c, n in enumerate(counts.tolist())
        if n and 0 < c < classes
    }
    places = {c: list[NDArray[np.int64]]() for c in ranks}
    passed = dict.fromkeys(ranks, 0)
    for start, part in parts:  # places take eight bytes a voxel
        for c in ranks.keys() & set(np.flatnonzero(np.bincount(part)).tolist()):
            inside = np.flatnonzero(part == c)
            here = ranks[c] - passed[c]
            chosen = here[(here >= 0) & (here < inside.size)]
            places[c].append(start + inside[chosen])
            passed[c] += inside.size
    return {
        c: np.stack(np.unravel_index(np.concatenate(found), index.shape), axis=-1).astype(np.int32)
        for c, found in places.items()
    }
