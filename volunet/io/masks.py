"""Read label maps: whole numbers from 0 up that somebody declared, or a refusal.

A label map is never interpolated or mended; numbers that miss a whole one by less than a thousandth
(such as those of a file with a slope of 1.0000001) are rounded, and that is said.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Finding, Refused, Severity, finding
from volunet.io.inquiry import QUIET, Inquiry
from volunet.io.reading import Reading
from volunet.io.scan import open_mask
from volunet.space.labels import Labels
from volunet.space.volume import Volume

NEAR_WHOLE = 1e-3
LARGEST = 2.0**31
"""Floating-point labels from here on are taken for something else."""
TINY_VOX = 10
COUNTED = 1 << 16
"""Values below this are counted in a table, which is far faster than sorting the voxels."""
SIDES = "The labels tell left from right, and the file does not."
PLACE_ADVICE = (
    "Set the sform in NIfTI, TransformMatrix in MHA, or space and space directions in NRRD; or "
    "accept GEO-NOFORM to take the axes for LAS, centred, in NIfTI, and for LPS in MHA and NRRD."
)
"""What to do with a file that does not tell where it lies."""
PART = 1 << 20
"""Voxels counted at once, since counting takes eight bytes for each."""


def read_mask(
    path: str | os.PathLike[str],
    labels: Labels | None = None,
    *,
    accept: Collection[str] = (),
) -> Reading:
    """A label map with everything found about it.

    Args:
        path: NIfTI, NRRD, MetaImage, or a picture of PNG, TIFF or BMP.
        labels: the values that may occur, and what the colours of a picture mean; None allows
            every whole number from 0 up.
        accept: codes of refusals to waive where there is a way to go on.

    Returns:
        Voxels (1, I, J, K) in the smallest unsigned type that holds the declared values (or those
        found, where none are declared).

    Raises:
        Refused: the file is damaged, its geometry is in doubt, or it holds other values.
    """
    inquiry = Inquiry(Path(path).name, accept)
    volume = open_mask(Path(path), labels, inquiry)
    if labels is not None and labels.tells_sides:
        _refuse_guessed_sides(inquiry)
    whole = _whole(volume.voxels, inquiry)
    counts = label_counts(whole)
    _judge_values(counts, labels, inquiry)
    findings = inquiry.settle()
    kind = np.min_scalar_type(max(counts)) if labels is None else labels.dtype
    voxels = whole.astype(kind, copy=False)
    return Reading(Volume(voxels, volume.grid, sides_guessed=inquiry.guesses_sides), findings)


def label_counts(voxels: NDArray[Any]) -> dict[int, int]:
    """Number of voxels of each value that occurs, by value; whole numbers of any shape."""
    low, high = int(voxels.min()), int(voxels.max())
    if low < 0 or high >= COUNTED:
        values, counts = np.unique(voxels, return_counts=True)
        return dict(zip(map(int, values), map(int, counts), strict=True))
    table = np.zeros(high + 1, dtype=np.int64)
    for part in np.nditer(voxels, flags=["external_loop", "buffered"], buffersize=PART):
        table += np.bincount(part, minlength=high + 1)
    return {int(value): int(table[value]) for value in np.flatnonzero(table)}


@QUIET
def _whole(voxels: NDArray[Any], inquiry: Inquiry) -> NDArray[Any]:
    """The voxels as integers, rounded where they are as good as whole."""
    if voxels.dtype.kind in "iu":
        return voxels
    rounded = np.rint(voxels)
    usable = np.abs(voxels) < LARGEST
    off = np.abs(np.subtract(voxels, rounded, where=usable, out=np.ones_like(voxels)))
    if off.max() >= NEAR_WHOLE:
        raise _fractions(voxels, off >= NEAR_WHOLE, inquiry)
    if off.any():
        inquiry.note("LBL-ROUNDED", f"Values missed whole numbers by up to {float(off.max()):.1g}.")
    return np.asarray(rounded, dtype=np.int64)


def _fractions(voxels: NDArray[Any], wrong: NDArray[np.bool_], inquiry: Inquiry) -> Exception:
    values, counts = np.unique(voxels[wrong], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:6]
    shown = ", ".join(f"{values[n]:.4g} ({counts[n]} voxels)" for n in most)
    rest = f" and {len(values) - 6} further values" if len(values) > 6 else ""
    return inquiry.refusal(
        "LBL-FRACTION",
        f"{int(wrong.sum())} voxels are not whole numbers, or far too large: {shown}{rest}.",
        voxels=int(wrong.sum()),
    )


def _judge_values(counts: dict[int, int], labels: Labels | None, inquiry: Inquiry) -> None:
    if negative := [value for value in counts if value < 0]:
        raise inquiry.refusal("LBL-NEGATIVE", f"The label map holds {negative[:8]}.")
    if set(counts) == {0}:
        inquiry.note("LBL-EMPTY", "Every voxel is background.")
        return
    known = set(labels.values) | {0, labels.ignore} if labels is not None else set(counts)
    if set(counts) <= {0, 255} and (labels is None or 255 not in known):
        _refuse_255(labels, inquiry)
    elif unknown := {value: n for value, n in counts.items() if value not in known}:
        raise _unknown(unknown, labels, inquiry)
    for value, n in counts.items():
        if value and n < TINY_VOX:
            inquiry.note("LBL-TINY", f"Label {value} has {n} voxels.", value=value, voxels=n)


def _refuse_255(labels: Labels | None, inquiry: Inquiry) -> None:
    """A mask of 0 and 255 is most likely a picture's black and white."""
    name = labels.names[0] if labels is not None and labels.names else "structure"
    advice = f'Declare it in labels.json as {{"labels": {{"{name}": 255}}}}, or store it as 1.'
    if labels is not None:
        raise inquiry.refusal("LBL-255", "The mask is stored as 0 and 255.", advice=advice)
    inquiry.note("LBL-255", "The mask is stored as 0 and 255.", advice=advice)


def _unknown(unknown: dict[int, int], labels: Labels | None, inquiry: Inquiry) -> Exception:
    known = labels.structures if labels is not None else {}
    shown = ", ".join(f"{value} ({n} voxels)" for value, n in list(unknown.items())[:8])
    suggestion = ", ".join(f'"label_{value}": {value}' for value in list(unknown)[:8])
    return inquiry.refusal(
        "LBL-UNKNOWN",
        f"The label map holds {shown}, which are not declared; declared are {known}.",
        advice=f"Mend the mask, or declare them in labels.json: {suggestion}.",
    )


def _refuse_guessed_sides(inquiry: Inquiry) -> None:
    """Left and right must be known where labels tell them apart."""
    if inquiry.has("GEO-NOFORM"):
        inquiry.note("GEO-NOFORM", SIDES, severity=Severity.REFUSE, advice=PLACE_ADVICE)


def refuse_guessed_sides(found: Iterable[Finding], accept: Collection[str]) -> None:
    """The same for a scan whose labels will tell left from right.

    Raises:
        Refused: they are guessed in it (GEO-NOFORM), and that is not waived.
    """
    if "GEO-NOFORM" not in accept and any(f.code == "GEO-NOFORM" for f in found):
        raise Refused([guessed_sides()])


def guessed_sides() -> Finding:
    """A refusal of a scan in which left and right are a guess, and that needs them."""
    return finding("GEO-NOFORM", SIDES, severity=Severity.REFUSE, advice=PLACE_ADVICE)
