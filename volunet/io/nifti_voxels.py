"""Voxels out of a stream of plain bytes: bounded, in the machine's byte order, scaled."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Refused
from volunet.io.inquiry import QUIET, Inquiry
from volunet.io.nifti_bytes import Stream
from volunet.io.nifti_header import Layout

FLOAT32_MAX = float(np.finfo(np.float32).max)


def read_voxels(stream: Stream, layout: Layout, inquiry: Inquiry) -> NDArray[Any]:
    """The voxels as a (C, I, J, K) array; stored numbers keep their type, scaled ones are float32.

    Raises:
        Refused: the header claims more or less than there is, the bytes are damaged, or scaling
            leaves the range of float32.
    """
    judge_size(stream, layout, inquiry)
    if stream.skip(layout.offset) < layout.offset:
        raise _no_voxels(layout, inquiry)
    try:
        buffer = np.empty(layout.nbytes, dtype=np.uint8)
    except MemoryError as error:
        raise inquiry.refusal(
            "RES-MEMORY",
            f"The voxels take {layout.nbytes / 1e9:.1f} GB, more than this machine gives.",
            advice="Read the scan on a machine with more memory, if it is what it says.",
        ) from error
    filled = stream.fill(buffer)
    if filled < layout.nbytes:
        raise stream.lacking(layout.nbytes, filled)
    stream.judge_rest(prod(layout.shape[:2]) * layout.dtype.itemsize)
    inquiry.settle()
    voxels = _native(buffer.view(layout.dtype)).reshape(layout.shape, order="F")
    if layout.scale is not None:
        voxels = _scaled(voxels, layout.scale, inquiry)
    return voxels[None] if voxels.ndim == 3 else np.moveaxis(voxels, -1, 0)


def judge_size(stream: Stream, layout: Layout, inquiry: Inquiry) -> None:
    """Nothing, where the file can hold what its header says, before any memory is taken for it.

    Raises:
        Refused: it cannot.
    """
    if layout.offset > stream.most:
        raise _no_voxels(layout, inquiry)
    stream.judge_claim(layout.nbytes, before=layout.offset)


def _no_voxels(layout: Layout, inquiry: Inquiry) -> Refused:
    return inquiry.refusal(
        "NII-OFFSET",
        f"The voxels are said to start at byte {layout.offset}, past the end of the file.",
    )


def _native(stored: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in the machine's byte order, turned in place."""
    if stored.dtype.isnative:
        return stored
    return stored.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))


@QUIET
def _scaled(
    stored: NDArray[Any], scale: tuple[float, float], inquiry: Inquiry
) -> NDArray[np.float32]:
    """slope * stored + intercept, worked out in float64, slice by slice, and kept in float32."""
    slope, inter = scale
    scaled = np.empty(stored.shape, dtype=np.float32, order="F")
    slices = (*stored.shape[:2], -1)
    from_slices, to_slices = (array.reshape(slices, order="F") for array in (stored, scaled))
    for k in range(from_slices.shape[-1]):
        plane = from_slices[..., k].astype(np.float64) * slope + inter
        if (np.abs(plane[np.isfinite(plane)]) > FLOAT32_MAX).any():
            raise inquiry.refusal(
                "IMG-RANGE", f"Scaled by {slope:g} and {inter:g}, values pass {FLOAT32_MAX:.2g}."
            )
        to_slices[..., k] = plane
    return scaled
