"""Whether a CT lies 1024 off Hounsfield units: without its rescale, or with it twice.

Told by what does not depend on the part of the body or on how much air a scan shows. A scan
without its rescale has nothing as dark as air and fat are, and more at the place of dense bone,
where its soft tissue lies, than at that of spongy bone. With the rescale twice, fat lies below any
air, and what is still as bright as soft tissue is the rest of what is darker: bone that thins out.

Of 115 real scans of the head and neck both faults are told in every one, and in every box around a
body. Of some 5,000 crops and padded scans without a fault three are told: two with noise of 150 HU,
and one box of nothing but bone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

OFFSET = 1024
PADDING_HU = -1300.0
"""Hardly a scanner gives less; such voxels are padding, or air with the rescale twice."""
LEAST_HU = -1024.0
"""The least that most scanners give."""
DARK_HU = -100.0
"""What hardly any set of CTs in Hounsfield units stays above, or below."""
EDGES_HU = (PADDING_HU, -1060.0, -850.0, -150.0, 150.0, 850.0, 1150.0, np.inf)
"""Between them: less than air; air; lungs and edges; soft tissue; spongy bone; dense; denser."""
FEW, SOME, MANY = 0.005, 0.01, 0.05
"""Shares of all voxels but padding."""


def find_offset(voxels: NDArray[Any], low: float, high: float) -> int:
    """By how many HU a CT lies too high or too low; 0 where it does not seem to.

    Args:
        voxels: of any shape.
        low: the low end of what a model was trained on; above `DARK_HU` it may itself have seen
            scans without a rescale, or others than CT.
        high: the high end; below `DARK_HU` it may have seen scans with the rescale twice.
    """
    counts, _ = np.histogram(voxels, bins=EDGES_HU)
    less, air, edges, soft, spongy, dense, _ = counts / max(counts.sum(), 1)
    if low < DARK_HU and less + air + edges < SOME and dense >= max(FEW, spongy):
        return OFFSET
    if high > DARK_HU and less >= MANY and soft < edges / 2:
        return -OFFSET
    return 0
