"""Which part of a scan a picture shows: three planes through its structures, and a grey window.

Arrays here are turned to RAS. A panel is a plane as it is looked at, (rows, columns) from top left,
in the radiological convention: the patient's right is on the left of axial and coronal panels, the
front is up or on the left, the head is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.errors import GeometryError
from volunet.space.box import Box
from volunet.space.volume import Volume

# Around the structures, for the eye to find its place: this much of their size, or this many mm.
MARGIN_SHARE, MARGIN_MM = 0.25, 25.0


@dataclass(frozen=True, slots=True)
class View:
    """One of the three directions to look along.

    Args:
        axis: the RAS axis that the plane cuts.
        rows: the RAS axis that runs from the panel's bottom to its top.
        columns: the RAS axis that runs from the panel's right to its left.
        letters: the patient's side at the left, right, top and bottom of the panel.
    """

    name: str
    axis: int
    rows: int
    columns: int
    letters: str


VIEWS = (
    View("axial", axis=2, rows=1, columns=0, letters="RLAP"),
    View("coronal", axis=1, rows=2, columns=0, letters="RLSI"),
    View("sagittal", axis=0, rows=2, columns=1, letters="APSI"),
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One plane to draw.

    Args:
        image: (R, C) grey values.
        labels: (R, C) label values of the prediction.
        reference: (R, C) label values drawn by hand, None where there are none.
        size_mm: width and height.
        place_mm: where the plane cuts its axis, in RAS mm.
    """

    view: View
    image: NDArray[Any]
    labels: NDArray[Any]
    reference: NDArray[Any] | None
    size_mm: tuple[float, float]
    place_mm: float


def cut_panels(
    image: Volume, labels: Volume, reference: Volume | None, values: Sequence[int]
) -> list[Panel]:
    """The axial, coronal and sagittal plane that show most of the structures, cut to their place.

    Args:
        image: (C, I, J, K); the first channel is shown.
        labels: (1, I, J, K) on the same grid.
        reference: (1, I, J, K) on the same grid.
        values: the label values of the structures; without any voxel the centre is shown.

    Raises:
        GeometryError: the volumes lie on different grids.
    """
    for other in (labels, reference):
        if other is not None and not image.grid.matches(other.grid):
            raise GeometryError(
                f"A picture needs the image and its masks on one grid, got {image.grid!r} and "
                f"{other.grid!r}. Resample the masks onto the image's grid."
            )
    masks = [labels] if reference is None else [labels, reference]
    scan, *masks = (volume.reoriented("RAS") for volume in (image, *masks))
    centre = _planes(masks, values)
    box = _surroundings(masks, values, scan.grid.spacing)
    world = scan.grid.to_world(centre)
    channels = [volume.voxels[0] for volume in (scan, *masks)]
    panels = []
    for view in VIEWS:
        seen = [_look(voxels, view, centre, box) for voxels in channels]
        width, height = (box.shape[a] * scan.grid.spacing[a] for a in (view.columns, view.rows))
        hand = seen[2] if len(seen) > 2 else None
        panels.append(Panel(view, seen[0], seen[1], hand, (width, height), float(world[view.axis])))
    return panels


def grey_window(panels: Sequence[Panel]) -> tuple[float, float]:
    """The grey values to show as black and white: the 1st and 99.5th percentile of what is seen.

    The lowest value is left out, as it fills the air around a patient.
    """
    values = np.concatenate([panel.image.ravel() for panel in panels]).astype(np.float64)
    values = values[np.isfinite(values)]
    within = values[values > values.min()] if values.size else values
    if not within.size:
        return 0.0, 1.0
    low, high = np.percentile(within, [1, 99.5])
    return float(low), float(max(high, np.nextafter(low, np.inf)))


def _planes(masks: Sequence[Volume], values: Sequence[int]) -> tuple[int, ...]:
    """For each axis the plane that shows the largest share of every structure, summed."""
    shape = masks[0].grid.shape
    shares = [np.zeros(n) for n in shape]
    for mask in masks:
        for value in values:
            inside = mask.voxels[0] == value
            for axis in range(3):
                area = inside.sum(axis=tuple(a for a in range(3) if a != axis))
                shares[axis] += area / max(int(area.max()), 1)
    return tuple(
        int(share.argmax()) if share.any() else n // 2
        for share, n in zip(shares, shape, strict=True)
    )


def _surroundings(masks: Sequence[Volume], values: Sequence[int], spacing: Sequence[float]) -> Box:
    shape = masks[0].grid.shape
    inside = np.zeros(shape, dtype=bool)
    for mask in masks:
        inside |= np.isin(mask.voxels[0], values)
    tight = Box.around(inside)
    if tight is None:
        return Box.whole(shape)
    size_mm = max(n * mm for n, mm in zip(tight.shape, spacing, strict=True))
    margin_mm = max(MARGIN_SHARE * size_mm, MARGIN_MM)
    margins = [int(np.ceil(margin_mm / mm)) for mm in spacing]
    start = tuple(max(a - m, 0) for a, m in zip(tight.start, margins, strict=True))
    stop = tuple(min(b + m, n) for b, m, n in zip(tight.stop, margins, shape, strict=True))
    return Box(start, stop)


def _look(voxels: NDArray[Any], view: View, centre: tuple[int, ...], box: Box) -> NDArray[Any]:
    """The plane as it is looked at: (rows, columns), both axes reversed."""
    index = tuple(
        centre[axis] if axis == view.axis else slice(box.start[axis], box.stop[axis])
        for axis in range(3)
    )
    plane: NDArray[Any] = voxels[index]
    # Columns have the lower RAS axis in every view.
    return plane.T[::-1, ::-1]
