"""How many voxels two label maps share, for every label and region in one pass over the voxels.

Label maps may hold any whole numbers from 0 up. They are turned into class indices first (0 is
background, 1 to n the labels in the order given, n + 1 every other value), so that one histogram
over the pairs of indices tells every count: row is the reference, column the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.errors import LabelError, ShapeError
from volunet.evaluation.empty import measured

# Up to here a table with one entry a value is small and several times faster than a search.
LARGEST_TABLE = 1_000_000


@dataclass(frozen=True, slots=True)
class Overlap:
    """Voxels of one structure in a reference and a prediction.

    Args:
        tp: voxels in both.
        fp: voxels in the prediction alone.
        fn: voxels in the reference alone.
    """

    tp: int
    fp: int
    fn: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN), 0 to 1 (Dice 1945); empty masks as in `evaluation.empty`."""
        return self._share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), 0 to 1 (Jaccard 1912); empty masks as in `evaluation.empty`."""
        return self._share(self.tp, self.tp + self.fp + self.fn)

    @property
    def reference_vox(self) -> int:
        """Voxels of the structure in the reference."""
        return self.tp + self.fn

    @property
    def prediction_vox(self) -> int:
        """Voxels of the structure in the prediction."""
        return self.tp + self.fp

    def _share(self, part: int, whole: int) -> float:
        return measured(
            self.reference_vox == 0,
            self.prediction_vox == 0,
            worst=0.0,
            measure=lambda: part / whole,
        )


def overlaps(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    values: Sequence[int],
    ignore: int | None = None,
) -> dict[int, Overlap]:
    """The overlap of each label value; values that are not asked for count as background.

    Args:
        reference: (*S), whole numbers.
        prediction: (*S), whole numbers.
        values: the label values to count, each above 0.
        ignore: voxels with this value in the reference are left out of both maps.

    Raises:
        ShapeError: the arrays differ in shape.
        LabelError: a value that is asked for is not above 0, or is asked for twice.
    """
    if reference.shape != prediction.shape:
        raise ShapeError(
            f"The masks must have one shape, got {reference.shape} and {prediction.shape}."
        )
    counts = confusion(*to_classes(reference, prediction, values, ignore), classes=len(values))
    return {value: overlap_of(counts, [n]) for n, value in enumerate(values, start=1)}


def to_classes(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    values: Sequence[int],
    ignore: int | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both label maps as class indices, ignored voxels as background in both.

    Returns:
        Two arrays (*S), uint8 or uint16: 0, then 1 to n in the order of `values`, and n + 1 for
        every value that is not among them.
    """
    if len(set(values)) < len(values) or any(value <= 0 for value in values):
        raise LabelError(f"Label values must differ and be above 0, got {list(values)}.")
    classes = _class_index(reference, values), _class_index(prediction, values)
    if ignore is not None:
        ignored = reference == ignore
        for indices in classes:
            indices[ignored] = 0
    return classes


def confusion(
    reference: NDArray[Any], prediction: NDArray[Any], *, classes: int
) -> NDArray[np.int64]:
    """How often each pair of class indices meets.

    Args:
        reference: (*S), class indices from `to_classes`.
        prediction: (*S), class indices from `to_classes`.
        classes: number of labels n, background apart.

    Returns:
        (n + 2, n + 2) voxel counts, rows from the reference, columns from the prediction.
    """
    side = classes + 2
    counts = np.zeros(side * side, dtype=np.int64)
    # Plane by plane, as the histogram needs eight bytes a voxel.
    for rows, columns in zip(np.atleast_2d(reference), np.atleast_2d(prediction), strict=True):
        if rows.any() or columns.any():
            pairs = rows.astype(np.int64) * side + columns
            counts += np.bincount(pairs.ravel(), minlength=side * side)
        else:
            counts[0] += rows.size
    return counts.reshape(side, side)


def overlap_of(counts: NDArray[np.int64], classes: Sequence[int]) -> Overlap:
    """The overlap of the union of some classes, from a `confusion`."""
    within = int(counts[np.ix_(classes, classes)].sum())
    reference = int(counts[classes, :].sum())
    prediction = int(counts[:, classes].sum())
    return Overlap(tp=within, fp=prediction - within, fn=reference - within)


def _class_index(voxels: NDArray[Any], values: Sequence[int]) -> NDArray[Any]:
    known = np.array((0, *values), dtype=np.int64)
    other = len(known)
    kind = np.min_scalar_type(other)
    countable = np.can_cast(voxels.dtype, np.intp) and voxels.min(initial=0) >= 0
    if countable and known.max() < LARGEST_TABLE:
        table = np.full(known.max() + 2, other, dtype=kind)
        table[known] = np.arange(len(known))
        return np.take(table, voxels, mode="clip")
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, voxels, sorter=order), len(known) - 1)
    index = order[place]
    return np.where(known[index] == voxels, index, other).astype(kind)
