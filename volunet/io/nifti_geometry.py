"""Where a NIfTI file puts its voxels, and whether everything in it says the same.

A header can place a scan by its sform, by its qform (a quaternion), by pixdim alone, or by all at
once. Readers choose differently where these disagree, so a disagreement is refused. Affines are
rounded to float32, as the file stores them: what is written back is then equal bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from volunet.io.geometry import Affine, displacement, in_reach, judge_axes, judge_spacing, spans
from volunet.io.inquiry import QUIET, Inquiry
from volunet.io.nifti_header import Header

UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
UNIT_NAMES = {1: "metres", 3: "micrometres"}
PLAUSIBLE_MM = (0.05, 20.0)
SAME_VOX = 0.02
"""Voxels by which sform and qform may differ, besides the noise of the quaternion."""
ROUNDED = 5e-6
"""By how much a quaternion of length 1 may be longer, in float32."""
QUATERNION_NOISE = 5e-7
"""Error of the squared first part: three float32 roundings, and nibabel's threshold for zero."""
SAME_SPACING = 0.002
ODD_SPACING = 0.01


@QUIET
def affine_of(header: Header, shape: tuple[int, int, int], inquiry: Inquiry) -> Affine:
    """The affine, RAS+ mm, with axes at right angles; what can be waived is noted.

    Raises:
        Refused: nothing in the header places the voxels.
    """
    zooms = np.array(header["pixdim"][1:4], dtype=np.float64)
    sform_used, qform_used = (int(header[f"{form}_code"]) > 0 for form in ("sform", "qform"))
    good_zooms = bool(np.isfinite(zooms).all() and (zooms > 0).all())
    if not good_zooms:
        message = f"pixdim gives a spacing of {_mm(zooms)}."
        if not sform_used:
            raise inquiry.refusal("GEO-SPACING", message)
        inquiry.note(
            "GEO-SPACING",
            message,
            advice="Set the true spacing, or accept GEO-SPACING to take the sform's.",
        )
    qform = _qform(header, inquiry, spare=sform_used) if qform_used and good_zooms else None
    if sform_used:
        affine = _checked(np.array(header.get_sform(), dtype=np.float64), "sform", inquiry)
        if qform is not None:
            noise = _quaternion_noise_vox(header, affine, shape)
            _compare_forms(affine, qform, shape, inquiry, noise_vox=noise)
        if good_zooms:
            _compare_spacing(affine, zooms, inquiry)
    elif qform is not None:
        affine = _checked(qform, "qform", inquiry)
    else:
        what = "Neither sform nor qform is set; LAS, centred, is assumed."
        inquiry.note("GEO-NOFORM", what, advice="Set the sform.")
        affine = np.array(header.get_base_affine(), dtype=np.float64)
    affine = judge_axes(_in_mm(affine, header, inquiry), shape, inquiry).astype(np.float32)
    judge_spacing(affine.astype(np.float64), shape, inquiry)
    return affine.astype(np.float64)


def _checked(affine: Affine, name: str, inquiry: Inquiry) -> Affine:
    if not in_reach(affine):
        raise inquiry.refusal("GEO-AFFINE", f"The {name} holds entries that are no millimetres.")
    if not spans(affine):
        raise inquiry.refusal("GEO-AFFINE", f"The {name} does not span three axes.")
    return affine


def _shorten(header: Header) -> None:
    """Makes a quaternion of half a turn no longer than 1, which rounding may have made it."""
    rotation = [f"quatern_{part}" for part in "bcd"]
    length = np.linalg.norm([float(header[name]) for name in rotation])
    if 1 < length < 1 + ROUNDED:
        for name in rotation:
            header[name] = header[name] / length


def _qform(header: Header, inquiry: Inquiry, *, spare: bool) -> Affine | None:
    """The qform's affine; where it is broken, None if there is a sform to spare."""
    sound = header.copy()
    qfac = float(header["pixdim"][0])
    if qfac not in (-1, 1):
        inquiry.note("NII-HEADER", f"pixdim[0] is {qfac:g} and neither 1 nor -1.")
        sound["pixdim"][0] = -1 if qfac < 0 else 1
    _shorten(sound)
    try:
        affine = np.array(sound.get_qform(), dtype=np.float64)
    except ValueError:
        affine = np.full((4, 4), np.nan)
    if in_reach(affine):
        return affine
    b, c, d = (float(header[f"quatern_{part}"]) for part in "bcd")
    message = f"The qform's quaternion ({b:.4g}, {c:.4g}, {d:.4g}) or offset is not valid."
    if not spare:
        raise inquiry.refusal("GEO-QUATERN", message)
    inquiry.note(
        "GEO-QUATERN", message, advice="Mend the qform, or accept GEO-QUATERN to take the sform."
    )
    return None


def _quaternion_noise_vox(header: Header, affine: Affine, shape: tuple[int, int, int]) -> float:
    """Voxels by which a qform may be off as its quaternion is stored in float32.

    The first part of the quaternion is not stored but worked out from the others. Near half a turn
    (as from RAS to LPS) it is small, and what is lost of it turns the far corners noticeably.
    """
    stored = np.array([header[f"quatern_{part}"] for part in "bcd"], dtype=np.float64)
    square = max(0.0, 1.0 - float(stored @ stored))
    angle = 2 * (np.sqrt(square + QUATERNION_NOISE) - np.sqrt(square))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return float(angle * np.linalg.norm(spacing * shape) / spacing.min())


def _compare_forms(
    sform: Affine,
    qform: Affine,
    shape: tuple[int, int, int],
    inquiry: Inquiry,
    *,
    noise_vox: float,
) -> None:
    vox, mm = displacement(sform, qform, shape)
    if vox <= SAME_VOX + noise_vox:
        return
    inquiry.note(
        "GEO-FORMS" if vox > 1 + noise_vox else "GEO-FORMS-SMALL",
        f"sform and qform put the corner voxels up to {vox:.3g} voxels ({mm:.3g} mm) apart.",
        voxels=vox,
        mm=mm,
    )


def _compare_spacing(affine: Affine, zooms: NDArray[np.float64], inquiry: Inquiry) -> None:
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    off = float(np.abs(zooms / columns - 1).max())
    if off <= SAME_SPACING:
        return
    message = f"pixdim gives a spacing of {_mm(zooms)}, the sform {_mm(columns)}."
    if off > ODD_SPACING:
        inquiry.note("GEO-PIXDIM", message, ratio=off)
    else:
        inquiry.note("GEO-FORMS-SMALL", message, ratio=off)


def _in_mm(affine: Affine, header: Header, inquiry: Inquiry) -> Affine:
    """The affine in mm, converted where that gives the spacing of a scan."""
    code = int(header["xyzt_units"]) & 0x07
    if code not in UNITS_MM:
        inquiry.note("NII-HEADER", f"Unit {code} is not one of length; mm are assumed.")
    factor = UNITS_MM.get(code, 1.0)
    if factor == 1.0:
        return affine
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = PLAUSIBLE_MM
    if (columns * factor < low).any() or (columns * factor > high).any():
        inquiry.note(
            "GEO-UNITS-ODD",
            f"{_mm(columns, UNIT_NAMES[code])} would be {_mm(columns * factor)}.",
            advice="Correct xyzt_units or the spacing, or accept GEO-UNITS-ODD to take mm.",
        )
        return affine
    inquiry.note(
        "GEO-UNITS", f"{_mm(columns, UNIT_NAMES[code])} were taken as {_mm(columns * factor)}."
    )
    return np.asarray(affine * np.array([[factor], [factor], [factor], [1.0]]))


def _mm(values: NDArray[np.float64], unit: str = "mm") -> str:
    return " x ".join(f"{value:.4g}" for value in values) + f" {unit}"
