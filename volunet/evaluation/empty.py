"""The rule for empty masks, stated once for every measure.

    reference    prediction    overlap and surface Dice    distances in mm
    empty        empty         NaN, counted apart          NaN, counted apart
    empty        voxels        0                           the image's diagonal
    voxels       empty         0                           the image's diagonal
    voxels       voxels        measured                    measured

Both empty is neither good nor bad segmentation, so it enters no mean. One empty is as wrong as a
mask can be, and must cost as much: leaving it out would reward a system for saying nothing.
"""

from __future__ import annotations

from collections.abc import Callable


def measured(
    reference_empty: bool,
    prediction_empty: bool,
    *,
    worst: float,
    measure: Callable[[], float],
) -> float:
    """The measure where both masks hold voxels, else what the rule above says.

    Args:
        worst: the value of an empty mask beside one that is not: 0 or the image's diagonal.
        measure: called only where both masks hold voxels.
    """
    if reference_empty and prediction_empty:
        return float("nan")
    if reference_empty or prediction_empty:
        return worst
    return measure()
