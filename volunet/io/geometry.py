"""Judgements on an affine, whatever format it came from: right angles, spacing, thin axes.

Affines are (4, 4), voxel index to RAS+ mm. An angle below `ROUNDING_RAD` is rounding; one up to
half a degree is turned to the nearest rotation (the orthogonal factor of the polar decomposition,
Higham 1986), as SimpleITK refuses such files and others ignore the difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from volunet.io.inquiry import Inquiry

Affine = NDArray[np.float64]
Shape = tuple[int, int, int]

FARTHEST_MM = 1e7
"""An entry of an affine from here on is no millimetre of a patient's."""
ROUNDING_RAD = 1e-4
SNAP_DEGREES = 0.5
ODD_SPACING_MM = (0.01, 20.0)
ODD_ANISOTROPY = 10.0
THIN_VOX = 4


def in_reach(affine: Affine) -> bool:
    """Whether all entries are numbers, and near enough to be millimetres."""
    return bool((np.abs(affine) < FARTHEST_MM).all())


def spans(affine: Affine) -> bool:
    """Whether the columns span three axes, judged against their own lengths."""
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(abs(np.linalg.det(affine[:3, :3])) > 1e-6 * columns.prod() > 0)


def shear_rad(affine: Affine) -> float:
    """The largest angle by which two axes miss their right angle."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.arcsin(np.clip(np.abs((axes.T @ axes)[np.triu_indices(3, 1)]).max(), 0, 1)))


def right_angled(affine: Affine, shape: Shape) -> Affine:
    """The affine with its axes turned to the nearest right angles; the centre voxel stays."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    turned = np.eye(4)
    turned[:3, :3] = left @ right * spacing
    middle = (np.array(shape) - 1) / 2
    turned[:3, 3] = affine[:3, :3] @ middle + affine[:3, 3] - turned[:3, :3] @ middle
    return turned


def displacement(one: Affine, other: Affine, shape: Shape) -> tuple[float, float]:
    """How far two affines put a corner voxel apart, at most: in voxels of `one`, and in mm."""
    ends = np.stack(np.meshgrid(*[(0.0, n - 1.0) for n in shape], indexing="ij"), -1)
    corners = np.c_[ends.reshape(-1, 3), np.ones(8)]
    apart = (corners @ (other - one).T)[:, :3]
    voxels = np.linalg.solve(one[:3, :3], apart.T)
    return float(np.abs(voxels).max()), float(np.linalg.norm(apart, axis=1).max())


def judge_axes(affine: Affine, shape: Shape, inquiry: Inquiry) -> Affine:
    """The affine, its axes turned to right angles where they miss them; both are noted."""
    angle = shear_rad(affine)
    if angle <= ROUNDING_RAD:
        return affine
    turned = right_angled(affine, shape)
    _, mm = displacement(affine, turned, shape)
    degrees = float(np.degrees(angle))
    inquiry.note(
        "GEO-SHEAR-SMALL" if degrees <= SNAP_DEGREES else "GEO-SHEAR",
        f"Two axes miss their right angle by {degrees:.2g} degrees; the nearest rotation moves "
        f"voxels by up to {mm:.2g} mm.",
        degrees=degrees,
        mm=mm,
    )
    return turned


def judge_spacing(affine: Affine, shape: Shape, inquiry: Inquiry) -> None:
    """Note a spacing that is hard to believe, and axes of very few voxels."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = ODD_SPACING_MM
    text = " x ".join(f"{mm:.3g}" for mm in spacing) + " mm"
    if (
        spacing.min() < low
        or spacing.max() > high
        or spacing.max() > ODD_ANISOTROPY * spacing.min()
    ):
        inquiry.note("GEO-SPACING-ODD", f"The voxels are {text}.")
    if min(shape) < THIN_VOX:
        inquiry.note("GEO-THIN", f"The scan is {' x '.join(map(str, shape))} voxels.")
