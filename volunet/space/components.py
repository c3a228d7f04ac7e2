"""Connected components of a mask: parts that touch by a face."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def label_components(mask: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbers the face-connected parts of a mask, largest first.

    Args:
        mask: (*S), nonzero is inside.

    Returns:
        (*S) with 0 outside and 1 for the largest part, and the sizes in voxels, largest first
        (empty for an empty mask).
    """
    parts, count = ndimage.label(np.asarray(mask) != 0)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    renumber = np.zeros(count + 1, dtype=np.int32)
    renumber[order + 1] = np.arange(1, count + 1)
    return renumber[parts], sizes[order]
