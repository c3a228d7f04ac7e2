"""Judgements on the voxels of an image: numbers that are none, and images without content."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Severity
from volunet.io.inquiry import QUIET, Inquiry
from volunet.io.nifti_voxels import FLOAT32_MAX

MOST_NONFINITE = 0.001
"""Share of a channel's voxels that may be NaN or infinite before an image is refused."""
MEND = "Mend the scan, or accept IMG-NONFINITE to go on with the lowest value there."


@QUIET
def judge_image(voxels: NDArray[Any], inquiry: Inquiry) -> NDArray[np.bool_] | None:
    """Sets NaN and infinities to the lowest finite value of their channel, in place.

    Channels may be of different kinds, such as CT and PET, so each is judged by itself.

    Args:
        voxels: (C, I, J, K), at least one voxel.

    Returns:
        Which voxels (I, J, K) were set in any channel; None where none was.

    Raises:
        Refused: no voxel of a channel is a finite number, or values pass the range of float32.
    """
    mended: NDArray[np.bool_] | None = None
    for number, channel in enumerate(voxels, start=1):
        of = f"Channel {number} of {len(voxels)}: " if len(voxels) > 1 else ""
        low, high = float(channel.min()), float(channel.max())
        if not np.isfinite([low, high]).all():
            wrong = np.logical_not(np.isfinite(channel))
            low, high = _mend(channel, wrong, of, inquiry)
            mended = wrong if mended is None else mended | wrong
        if max(-low, high) > FLOAT32_MAX:
            message = f"{of}Values reach from {low:.3g} to {high:.3g}."
            raise inquiry.refusal("IMG-RANGE", message)
        if low == high:
            inquiry.note("IMG-CONSTANT", f"{of}Every voxel is {low:g}.", value=low)
    return mended


def _mend(
    channel: NDArray[Any], wrong: NDArray[np.bool_], of: str, inquiry: Inquiry
) -> tuple[float, float]:
    """Set what is not finite to the lowest value that is; the range that is left."""
    count = int(np.count_nonzero(wrong))
    if count == wrong.size:
        raise inquiry.refusal("IMG-NONFINITE", f"{of}No voxel is a number.", count=count)
    low = float(np.min(channel, where=~wrong, initial=np.inf))
    high = float(np.max(channel, where=~wrong, initial=-np.inf))
    np.copyto(channel, low, where=wrong)
    share = count / wrong.size
    message = f"{of}{count} voxels ({share:.2%}) are NaN or infinite; they were set to {low:g}."
    if share > MOST_NONFINITE:
        refuse = Severity.REFUSE
        inquiry.note("IMG-NONFINITE", message, severity=refuse, advice=MEND, count=count)
    else:
        inquiry.note("IMG-NONFINITE", message, count=count)
    return low, high
