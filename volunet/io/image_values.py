"""Judgements on the voxels of an image: numbers that are none, and images without content."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Severity
from volunet.io.inquiry import QUIET, Inquiry
from volunet.io.nifti_voxels import FLOAT32_MAX

MOST_NONFINITE = 0.001
"""Share of voxels that may be NaN or infinite before an image is refused."""


@QUIET
def judge_image(voxels: NDArray[Any], inquiry: Inquiry) -> NDArray[Any]:
    """The voxels with NaN and infinities set to the lowest finite value; changed in place.

    Args:
        voxels: any shape, at least one voxel.

    Raises:
        Refused: no voxel is a finite number, or values pass the range of float32.
    """
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite([low, high]).all():
        low, high = _mend(voxels, inquiry)
    if max(-low, high) > FLOAT32_MAX:
        raise inquiry.refusal("IMG-RANGE", f"Values reach from {low:.3g} to {high:.3g}.")
    if low == high:
        inquiry.note("IMG-CONSTANT", f"Every voxel is {low:g}.", value=low)
    return voxels


def _mend(voxels: NDArray[Any], inquiry: Inquiry) -> tuple[float, float]:
    """Set what is not finite to the lowest value that is; the range that is left."""
    finite = np.isfinite(voxels)
    count = int(finite.size - np.count_nonzero(finite))
    if count == finite.size:
        raise inquiry.refusal("IMG-NONFINITE", "No voxel is a number.", count=count)
    low = float(np.min(voxels, where=finite, initial=np.inf))
    high = float(np.max(voxels, where=finite, initial=-np.inf))
    np.copyto(voxels, low, where=np.logical_not(finite, out=finite))
    share = count / finite.size
    message = f"{count} voxels ({share:.2%}) are NaN or infinite; they were set to {low:g}."
    if share > MOST_NONFINITE:
        inquiry.note(
            "IMG-NONFINITE",
            message,
            severity=Severity.REFUSE,
            advice="Mend the scan, or accept IMG-NONFINITE to go on with the lowest value there.",
            count=count,
        )
    else:
        inquiry.note("IMG-NONFINITE", message, count=count)
    return low, high
