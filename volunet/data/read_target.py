"""Open the files of a case that has targets: the image, and the images to estimate from it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volunet.data.cases import Case
from volunet.data.read_case import read_all, read_images
from volunet.errors import DatasetError
from volunet.findings import Finding, Refused, finding, worst_first
from volunet.findings import accept as waive
from volunet.io.pair import SAME_VOX, check_pair
from volunet.io.reading import Reading
from volunet.planning.fingerprint import top_of
from volunet.space.grid import Grid, Shape
from volunet.space.picture import is_picture
from volunet.space.volume import Volume

MOST_FINER = 16


@dataclass(frozen=True, eq=False)
class TargetReading:
    """A case with targets that was read to its last byte.

    Args:
        image: (C, I, J, K).
        target: (T, I, J, K) over the image's field of view, on its grid or on a finer one.
        finer: how many voxels of the target lie along one of the image's, along R, A and S.
        top: the highest number that the target's pixels can hold, where it is a picture, else 0.
        findings: worst first; refusals among them were accepted.
    """

    image: Volume
    target: Volume
    finer: Shape
    top: int
    findings: tuple[Finding, ...]


def read_target_case(
    case: Case, *, channels: int, targets: int, accept: Collection[str] = ()
) -> TargetReading:
    """The image and the targets of a case.

    Args:
        channels: how many the image must have.
        targets: how many there must be, as channels of one file.
        accept: codes of refusals to waive; GEO-MISMATCH takes the target's voxels for the image's,
            one for one, where there are as many.

    Raises:
        DatasetError: the case has no target.
        Refused: with the findings of both files together; GEO-MISMATCH where the target lies
            neither on the image's grid nor on one that divides its voxels.
    """
    if case.target is None:
        raise DatasetError(f"Case {case.case_id!r} has no target. Add it, or leave it out.")
    file = case.target
    image_reading, target_reading = read_all(
        case.case_id,
        lambda: read_images(case.images, channels=channels, accept=accept),
        lambda: _read_target(file, targets, accept),
    )
    image, target = image_reading.volume, target_reading.volume
    found = [*image_reading.findings, *target_reading.findings]
    placed = place_target(image.grid, target.grid)
    if placed is None:
        apart = _apart(image.grid, target.grid).at(case=case.case_id, file=file.name)
        waived = waive([apart], accept if image.grid.shape == target.grid.shape else ())
        found += waived
        if waived[0].refuses:
            raise Refused(found)
        placed = image.grid
    return TargetReading(
        image,
        Volume(target.voxels, placed),
        finer_along_ras(image.grid, placed),
        top_of(target),
        tuple(worst_first(found)),
    )


def _read_target(file: Path, targets: int, accept: Collection[str]) -> Reading:
    """The targets in a file, as many as there are names for."""
    try:
        return read_images([file], channels=targets, accept=accept)
    except Refused as refused:
        advice = 'Name as many "targets" in labels.json as the file has channels.'
        raise Refused(
            replace(found, advice=advice) if found.code == "IMG-CHANNELS" else found
            for found in refused.findings
        ) from None


def place_target(image: Grid, target: Grid) -> Grid | None:
    """The grid of a target over the field of view of its image; None where it has another.

    Pictures say nothing of where they lie: one of twice as many pixels has pixels half as wide.
    """
    if not _divides(image, target):
        return None
    divided = image.with_shape(target.shape)
    alike = divided.displacement_vox(target) <= SAME_VOX
    return divided if alike or (is_picture(image) and is_picture(target)) else None


def finer_along_ras(image: Grid, target: Grid) -> Shape:
    """How many voxels of a placed target lie along one of the image's, along R, A and S."""
    times = np.divide(target.shape, image.shape).astype(int)
    r, a, s = times[np.argsort(image.turn_to("RAS")[:, 0])].tolist()
    return r, a, s


def other_fineness(found: Shape, planned: Shape | None) -> Finding:
    """A refusal GEO-MISMATCH of a case whose targets are not as fine as the plan has it."""
    return finding(
        "GEO-MISMATCH",
        f"For one voxel of the image the target has {found} (R, A, S), and the plan {planned}.",
        advice="Resample the target as those of the other cases, or leave the case out.",
    )


def _apart(image: Grid, target: Grid) -> Finding:
    advice = (
        "Resample the target onto the image's grid, or onto one with the same edges whose voxels "
        f"are a half, a third, ... a {MOST_FINER}th as long; or accept GEO-MISMATCH to take voxel "
        "for voxel where there are as many."
    )
    aim = image.with_shape(target.shape) if _divides(image, target) else image
    (apart,) = check_pair(aim, target)
    return replace(apart, advice=advice)


def _divides(image: Grid, target: Grid) -> bool:
    """Whether a target has a whole number of voxels for each of the image's, along each axis."""
    times = np.array(target.shape) / image.shape
    return bool((times == np.rint(times)).all() and 1 <= times.min() <= times.max() <= MOST_FINER)
