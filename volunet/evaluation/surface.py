"""Distances between the surfaces of two masks, in mm, after Nikolov et al. 2018.

A surface element sits at every corner of voxels whose 2 x 2 x 2 neighbours are neither all inside
nor all outside the mask; beyond the image is outside, but for an image of one slice, which has no
surface across it: there a contour is measured. Its area in mm^2 is that of the marching
cubes' triangles for these eight neighbours at the scan's spacing, so that distances are weighted by
how much surface they stand for and neither voxel size nor the direction of a surface biases them.

Source: Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and
neck anatomy for radiotherapy", arXiv:1809.04430. The triangles come from MONAI's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from volunet.errors import ShapeError
from volunet.evaluation.empty import measured
from volunet.space.box import Box

ALL_INSIDE = 255
ROUNDING = 1e-5
"""Share by which a distance may pass a tolerance: spacings come from affines in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """How far each surface element of one mask lies from the surface of the other.

    Args:
        reference_to_prediction: (N,) mm, ascending; empty where either mask is.
        prediction_to_reference: (M,) mm, ascending; empty where either mask is.
        reference_areas: (N,) mm^2 of the same elements; empty only where the reference is.
        prediction_areas: (M,) mm^2 of the same elements; empty only where the prediction is.
        diagonal_mm: the image's diagonal, the distance to a mask that is empty.
    """

    reference_to_prediction: NDArray[np.float64]
    prediction_to_reference: NDArray[np.float64]
    reference_areas: NDArray[np.float64]
    prediction_areas: NDArray[np.float64]
    diagonal_mm: float

    def hausdorff(self, percent: float = 95) -> float:
        """The larger of the two directed distances that `percent` of the area keeps within, in mm.

        Empty masks as in `evaluation.empty`.
        """

        def measure() -> float:
            return max(
                _percentile(distances, areas, percent) for distances, areas in self._directions()
            )

        return self._measured(worst=self.diagonal_mm, measure=measure)

    def surface_dice(self, tolerance_mm: float) -> float:
        """The share of both surfaces that lies within the tolerance of the other, 0 to 1.

        Also called normalised surface distance (NSD). Empty masks as in `evaluation.empty`.
        """

        def measure() -> float:
            most = tolerance_mm * (1 + ROUNDING)
            near = sum(float(areas[d <= most].sum()) for d, areas in self._directions())
            return near / float(self.reference_areas.sum() + self.prediction_areas.sum())

        return self._measured(worst=0.0, measure=measure)

    @property
    def average_distances(self) -> tuple[float, float]:
        """Mean distance in mm by area: reference to prediction, and prediction to reference."""

        def mean(distances: NDArray[np.float64], areas: NDArray[np.float64]) -> float:
            return self._measured(
                worst=self.diagonal_mm,
                measure=lambda: float((distances * areas).sum() / areas.sum()),
            )

        there, back = self._directions()
        return mean(*there), mean(*back)

    @property
    def assd(self) -> float:
        """Average symmetric surface distance in mm: the mean of the two directed averages."""
        there, back = self.average_distances
        return (there + back) / 2

    def _directions(self) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
        return (
            (self.reference_to_prediction, self.reference_areas),
            (self.prediction_to_reference, self.prediction_areas),
        )

    def _measured(self, *, worst: float, measure: Any) -> float:
        empty = not self.reference_areas.size, not self.prediction_areas.size
        return measured(*empty, worst=worst, measure=measure)


def surface_distances(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    image: Sequence[int] | None = None,
) -> SurfaceDistances:
    """The distances between the surfaces of two masks.

    Args:
        reference: (I, J, K), nonzero is inside.
        prediction: (I, J, K), nonzero is inside.
        spacing_mm: distance between voxels along i, j and k.
        image: shape (I, J, K) of the whole image, which the masks may be cut from. Along an axis of
            one voxel it has no surface. Without it the masks are taken for bodies in empty space.

    Raises:
        ShapeError: the masks are not three-dimensional, or differ in shape.
    """
    if reference.ndim != 3 or reference.shape != prediction.shape:
        raise ShapeError(
            f"Surfaces need two masks of one shape (I, J, K), "
            f"got {reference.shape} and {prediction.shape}."
        )
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    whole = np.array(reference.shape if image is None else image)
    is_slice = image is not None and whole.max() > 1
    thin = tuple(is_slice and bool(n == 1) for n in whole)
    masks = reference != 0, prediction != 0
    box = Box.around(masks[0] | masks[1]) or Box.whole(reference.shape)
    areas_of_codes, kernel = _tables(spacing)
    codes = [_neighbour_codes(mask[box.index], kernel, thin) for mask in masks]
    ours, theirs = ((code != 0) & (code != ALL_INSIDE) for code in codes)
    areas = areas_of_codes[codes[0][ours]], areas_of_codes[codes[1][theirs]]
    there, back = _directed(ours, theirs, spacing), _directed(theirs, ours, spacing)
    (there, there_areas), (back, back_areas) = (
        _ascending(there, areas[0]),
        _ascending(back, areas[1]),
    )
    diagonal_mm = float(np.linalg.norm(whole * spacing))
    return SurfaceDistances(there, back, there_areas, back_areas, diagonal_mm)


def _tables(spacing: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The area in mm^2 of each of the 256 codes, and the (2, 2, 2) bits that make a code."""
    # MONAI takes seconds to load; commands that fail before they measure need not wait for it.
    from monai.metrics.utils import create_table_neighbour_code_to_surface_area

    areas, kernel = create_table_neighbour_code_to_surface_area(spacing.tolist())
    return areas.double().numpy(), kernel.numpy().reshape(2, 2, 2).astype(np.uint8)


def _neighbour_codes(
    mask: NDArray[np.bool_], kernel: NDArray[np.uint8], thin: tuple[bool, ...]
) -> NDArray[np.uint8]:
    """One code for each corner of voxels: (I, J, K) to (I + 1, J + 1, K + 1).

    Across axes that are `thin` the mask goes on, so that walls stand there and no lids lie.
    """
    lids = [(0, 0) if along else (1, 1) for along in thin]
    walls = [(1, 1) if along else (0, 0) for along in thin]
    padded = np.pad(np.pad(mask, lids), walls, mode="edge").astype(np.uint8)
    i, j, k = (n + 1 for n in mask.shape)
    codes = np.zeros((i, j, k), dtype=np.uint8)
    for a, b, c in product((0, 1), repeat=3):
        codes += padded[a : a + i, b : b + j, c : c + k] * kernel[a, b, c]
    return codes


def _directed(
    start: NDArray[np.bool_], goal: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance in mm of each element of `start` to the nearest of `goal`, in C order."""
    if not goal.any():
        return np.empty(0)
    distances = np.zeros(int(start.sum()))
    # Good masks share most of their surface; only the rest needs a search.
    apart = ~goal[start]
    if apart.any():
        # A tree of the surface is several times faster than a distance map of the box around it.
        tree = cKDTree(np.argwhere(goal) * spacing, balanced_tree=False, compact_nodes=False)
        distances[apart] = tree.query(np.argwhere(start & ~goal) * spacing)[0]
    return distances


def _ascending(
    distances: NDArray[np.float64], areas: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not distances.size:
        return distances, areas
    order = np.argsort(distances, kind="stable")
    return distances[order], areas[order]


def _percentile(
    distances: NDArray[np.float64], areas: NDArray[np.float64], percent: float
) -> float:
    """The smallest distance that `percent` of the area keeps within."""
    share = np.cumsum(areas) / areas.sum()
    # A share that should be equal is off by the rounding of areas; it must not move to the next.
    place = int(np.searchsorted(share, percent / 100 - 1e-6))
    return float(distances[min(place, len(distances) - 1)])
