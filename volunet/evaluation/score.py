"""Scores of one case: one row for each label and each region, in voxels' own mm and ml.

Both label maps must lie on one grid: a prediction is scored where the reference was drawn, and is
never resampled here, as that would score the resampling too. What empty masks score is stated in
`evaluation.empty`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from volunet.evaluation.overlap import confusion, overlap_of, to_classes
from volunet.evaluation.surface import SurfaceDistances, surface_distances
from volunet.findings import Refused, finding
from volunet.io.pair import check_pair
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume

Status = Literal["ok", "missing", "refused", "undrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well one structure of one case was found; NaN where there is nothing to score.

    Args:
        case_id: the case.
        label: the name of a label or region.
        dice: 0 to 1.
        iou: 0 to 1.
        hd95_mm: 95th percentile of the Hausdorff distance.
        nsd: surface Dice at the tolerance, 0 to 1.
        assd_mm: average symmetric surface distance.
        volume_ref_ml: of the reference, ignored voxels left out.
        volume_pred_ml: of the prediction, ignored voxels left out.
        nsd_tolerance_mm: the tolerance of `nsd`.
        status: "ok"; "missing" where the case has no prediction and was scored as an empty mask;
            "refused" where a file could not be used and nothing was scored; "undrawn" where nobody
            drew the structure in the reference.
    """

    case_id: str
    label: str
    dice: float = float("nan")
    iou: float = float("nan")
    hd95_mm: float = float("nan")
    nsd: float = float("nan")
    assd_mm: float = float("nan")
    volume_ref_ml: float = float("nan")
    volume_pred_ml: float = float("nan")
    nsd_tolerance_mm: float
    status: Status = "ok"

    @property
    def both_empty(self) -> bool:
        """Whether the structure is in neither mask, so that there is nothing to score."""
        return self.volume_ref_ml == 0 and self.volume_pred_ml == 0


def score_case(
    case_id: str,
    reference: Volume,
    prediction: Volume,
    labels: Labels,
    *,
    tolerance_mm: float = 1.0,
    drawn: Collection[str] | None = None,
) -> list[Score]:
    """The scores of one case, labels in the order of their values, then regions.

    Args:
        reference: (1, I, J, K), whole numbers that `labels` knows.
        prediction: (1, I, J, K), whole numbers that `labels` knows; without the ignore value.
        tolerance_mm: how far surfaces may lie apart and still count for `nsd`.
        drawn: names of the labels that were drawn in the reference, None for all; the others, and
            regions with any of them, get rows without numbers.

    Raises:
        Refused: GEO-MISMATCH where the grids differ, IMG-CHANNELS where a map has several channels,
            LBL-FRACTION or LBL-UNKNOWN where a value is not a whole number or not declared.
    """
    refuse_other_grid(case_id, reference.grid, prediction.grid)
    maps = [
        _whole_numbers(case_id, side, volume)
        for side, volume in (("reference", reference), ("prediction", prediction))
    ]
    classes = to_classes(maps[0], maps[1], labels.values, labels.ignore)
    counts = confusion(*classes, classes=len(labels.values))
    _refuse_unknown_values(case_id, counts, maps, labels)
    boxes = _boxes(*classes, len(labels.values))
    scores = []
    for name, members in structures(labels):
        if drawn is not None and not {labels.names[i - 1] for i in members} <= set(drawn):
            scores.append(unscored(case_id, name, tolerance_mm, "undrawn"))
            continue
        surfaces = _surfaces(*classes, members, boxes, reference.grid)
        overlap = overlap_of(counts, members)
        scores.append(
            Score(
                case_id=case_id,
                label=name,
                dice=overlap.dice,
                iou=overlap.iou,
                hd95_mm=surfaces.hausdorff(95),
                nsd=surfaces.surface_dice(tolerance_mm),
                assd_mm=surfaces.assd,
                volume_ref_ml=overlap.reference_vox * reference.grid.voxel_ml,
                volume_pred_ml=overlap.prediction_vox * reference.grid.voxel_ml,
                nsd_tolerance_mm=tolerance_mm,
            )
        )
    return scores


def refused_rows(case_id: str, labels: Labels, tolerance_mm: float) -> list[Score]:
    """The rows of a case that could not be scored, one a structure, without numbers."""
    return [unscored(case_id, name, tolerance_mm, "refused") for name, _ in structures(labels)]


def unscored(case_id: str, name: str, tolerance_mm: float, status: Status) -> Score:
    """A row without numbers."""
    return Score(case_id=case_id, label=name, nsd_tolerance_mm=tolerance_mm, status=status)


def structures(labels: Labels) -> Iterator[tuple[str, list[int]]]:
    """What is scored: the name and class indices of each label, then of each other region."""
    for index, name in enumerate(labels.names, start=1):
        yield name, [index]
    for name, values in labels.unions.items():
        yield name, [labels.values.index(value) + 1 for value in values]


def averaged_dice(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    labels: Labels,
    drawn: Sequence[bool] | NDArray[np.bool_] | None = None,
) -> list[float]:
    """The Dice of each structure, or region, that means are over; NaN where neither map has it.

    Args:
        reference: (*S), class indices from `to_classes`.
        prediction: (*S), class indices from `to_classes`.
        drawn: (classes,) of each class whether it was drawn in the reference, None for all; a
            region with one that was not is NaN.
    """
    counts = confusion(reference, prediction, classes=len(labels.names))
    members = dict(structures(labels))
    return [
        nan
        if drawn is not None and not all(drawn[c] for c in members[name])
        else overlap_of(counts, members[name]).dice
        for name in labels.averaged
    ]


def _surfaces(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    members: list[int],
    boxes: Mapping[int, Box],
    grid: Grid,
) -> SurfaceDistances:
    """The distances between the unions of some classes, cut to where either has voxels."""
    held = [boxes[index] for index in members if index in boxes]
    start = np.min([box.start for box in held], axis=0) if held else np.zeros(3, int)
    stop = np.max([box.stop for box in held], axis=0) if held else np.ones(3, int)
    index = Box(tuple(start.tolist()), tuple(stop.tolist())).index
    return surface_distances(
        np.isin(reference[index], members),
        np.isin(prediction[index], members),
        grid.spacing,
        image=grid.shape,
    )


def _boxes(reference: NDArray[Any], prediction: NDArray[Any], classes: int) -> dict[int, Box]:
    """Where either map holds each class; classes that neither holds are left out."""
    boxes: dict[int, Box] = {}
    found = (find_objects(m, max_label=classes) for m in (reference, prediction))
    for index, places in enumerate(zip(*found, strict=True), start=1):
        if held := [place for place in places if place is not None]:
            start = tuple(min(place[axis].start for place in held) for axis in range(3))
            stop = tuple(max(place[axis].stop for place in held) for axis in range(3))
            boxes[index] = Box(start, stop)
    return boxes


def _whole_numbers(case_id: str, side: str, volume: Volume) -> NDArray[Any]:
    """The label map (I, J, K) of a volume, floats that are whole numbers as integers."""
    if volume.channels != 1:
        message = f"The {side} has {volume.channels} channels; a label map has one."
        advice = "Give the label map, not probabilities or one mask a channel."
        raise Refused([finding("IMG-CHANNELS", message, advice=advice).at(case=case_id)])
    voxels: NDArray[Any] = volume.voxels[0]
    if voxels.dtype.kind != "f":
        return voxels
    rounded: NDArray[Any] = np.rint(voxels)
    if not np.array_equal(rounded, voxels):
        message = f"The {side} holds fractions between {voxels.min():.4g} and {voxels.max():.4g}."
        raise Refused([finding("LBL-FRACTION", message).at(case=case_id)])
    return rounded.astype(np.int64)


def refuse_other_grid(case_id: str, reference: Grid, prediction: Grid) -> None:
    """Raises where a prediction does not lie where its reference does.

    Raises:
        Refused: GEO-MISMATCH, with the displacement in mm.
    """
    if not check_pair(reference, prediction):
        return
    apart_mm = reference.displacement_mm(prediction)
    message = (
        f"The prediction lies on {prediction!r}, the reference on {reference!r}; "
        f"a corner voxel of the reference's shape is displaced by up to {apart_mm:.3g} mm."
    )
    advice = "Resample the prediction onto the reference's grid, or predict the reference's scan."
    found = finding("GEO-MISMATCH", message, advice=advice, displacement_mm=apart_mm)
    raise Refused([found.at(case=case_id)])


def _refuse_unknown_values(
    case_id: str, counts: NDArray[np.int64], maps: Sequence[NDArray[Any]], labels: Labels
) -> None:
    unknown = {"reference": int(counts[-1].sum()), "prediction": int(counts[:, -1].sum())}
    declared = [0, *labels.values]
    known = {"reference": [*declared, labels.ignore or 0], "prediction": declared}
    found = []
    for (side, voxels), values in zip(unknown.items(), maps, strict=True):
        if voxels:
            odd = np.setdiff1d(values, known[side])[:8].tolist()
            message = (
                f"{voxels} voxels of the {side} have the values {odd}, which are not declared; "
                f"known are {labels.structures}."
            )
            found.append(finding("LBL-UNKNOWN", message, voxels=voxels).at(case=case_id))
    if found:
        raise Refused(found)
