"""Open the files of a case or scan: the image on its grid, the label map voxel for voxel on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from volunet.data.cases import Case
from volunet.data.drawn import find_undrawn
from volunet.errors import DatasetError
from volunet.findings import Finding, Refused, Severity, finding, worst_first
from volunet.findings import accept as waive
from volunet.io.image_values import MEND
from volunet.io.masks import label_counts, read_mask
from volunet.io.names import is_picture
from volunet.io.pair import check_pair
from volunet.io.reading import Reading
from volunet.io.scan import inspect, read_channels
from volunet.planning.machine import is_out_of_memory
from volunet.space.labels import Labels
from volunet.space.volume import Volume

ALIKE = "Save all images alike, either grey (1 channel) or RGB (3 channels)."


@dataclass(frozen=True, eq=False)
class CaseReading:
    """A case that was read to its last byte.

    Args:
        image: (C, I, J, K).
        label: (1, I, J, K) whole numbers, on the image's grid.
        findings: worst first; refusals among them were accepted.
    """

    image: Volume
    label: Volume
    findings: tuple[Finding, ...]


def read_images(
    paths: Sequence[Path], *, channels: int | None = None, accept: Collection[str] = ()
) -> Reading:
    """The image of a case or scan.

    Args:
        paths: one file a channel, or one file for all.
        channels: how many there must be; None takes what is there, one a file.
        accept: codes of refusals to waive where there is a way to go on.

    Raises:
        Refused: a file is refused, the files lie on different grids (GEO-MISMATCH), or there are
            more or fewer channels (IMG-CHANNELS).
    """
    if len(paths) > 1:
        reading = read_channels(paths, accept=accept)
    else:
        several = channels is not None and channels > 1
        reading = inspect(paths[0], accept=accept, channels_in_file=several)
    found = reading.volume.channels
    if channels is not None and found != channels:
        message = f"The image has {found} channels, and {channels} are needed."
        advice = ALIKE if is_picture(paths[0]) else None
        wrong = finding("IMG-CHANNELS", message, advice=advice, found=found, needed=channels)
        raise Refused([wrong.at(file=paths[0].name), *reading.findings])
    return reading


def read_case(
    case: Case,
    *,
    channels: int | None = None,
    labels: Labels | None = None,
    accept: Collection[str] = (),
) -> CaseReading:
    """The image and label map of a case.

    Args:
        channels: how many the image must have; None takes what is there.
        labels: the values that may occur; None allows every whole number from 0 up.
        accept: codes of refusals to waive; GEO-MISMATCH takes the label map's voxels for the
            image's, one for one, where there are as many.

    Raises:
        DatasetError: the case has no label map.
        Refused: with the findings of image and label map together; IMG-NONFINITE where voxels of a
            structure are no numbers in the image.
    """
    label_file = case.label
    if label_file is None:
        raise DatasetError(f"Case {case.case_id!r} has no label map. Add it, or leave it out.")
    image_reading, label_reading = read_all(
        case.case_id,
        lambda: read_images(case.images, channels=channels, accept=accept),
        lambda: read_mask(label_file, labels, accept=accept),
    )
    image, label = image_reading.volume, label_reading.volume
    apart = _judge_pair(image, label, accept)
    found = [f.at(case=case.case_id, file=label_file.name) for f in apart]
    inside = waive(_judge_mended(image_reading, label, labels), accept)
    found += [f.at(case=case.case_id, file=case.images[0].name) for f in inside]
    undrawn = [] if labels is None else find_undrawn(case, labels, label.voxels)
    found += [f.at(case=case.case_id, file=label_file.name) for f in undrawn]
    found += [*image_reading.findings, *label_reading.findings]
    if any(f.refuses for f in (*apart, *inside)):
        raise Refused(found)
    return CaseReading(image, image.with_voxels(label.voxels), tuple(worst_first(found)))


def findings_of(error: Exception, case_id: str) -> tuple[Finding, ...]:
    """What an error that stopped one case is told as, so that the others can go on."""
    if isinstance(error, Refused):
        return tuple(f.at(case=case_id) for f in error.findings)
    code = "RUN-OOM" if is_out_of_memory(error) else "IO-FAULT"
    return (finding(code, f"{type(error).__name__}: {error}").at(case=case_id),)


def _judge_pair(image: Volume, label: Volume, accept: Collection[str]) -> list[Finding]:
    """What keeps image and label map apart; it can be waived where they have as many voxels."""
    apart = check_pair(image.grid, label.grid)
    return waive(apart, accept) if image.grid.shape == label.grid.shape else apart


def _judge_mended(image: Reading, label: Volume, labels: Labels | None) -> list[Finding]:
    """A refusal where voxels of structures are no numbers in the image, however few.

    What they were set to would be learnt as the look of the structure.
    """
    if image.mended is None or image.mended.shape != label.grid.shape:
        return []
    names = {} if labels is None else {value: name for name, value in labels.structures.items()}
    outside = {0} if labels is None else {0, labels.ignore}
    counts = label_counts(label.voxels[0][image.mended])
    told = {names.get(v, f"label {v}"): n for v, n in counts.items() if v not in outside}
    if not told:
        return []
    message = "Voxels of structures are NaN or infinite in the image: "
    message += ", ".join(f"{count} of {name}" for name, count in told.items()) + "."
    refuse, count = Severity.REFUSE, sum(told.values())
    return [finding("IMG-NONFINITE", message, severity=refuse, advice=MEND, count=count)]


def read_all(case_id: str, *reads: Callable[[], Reading]) -> list[Reading]:
    """What every read gives; where one is refused, the findings of all are raised together."""
    readings: list[Reading] = []
    found: list[Finding] = []
    for read in reads:
        try:
            readings.append(read().of_case(case_id))
            found += readings[-1].findings
        except Refused as refused:
            found += findings_of(refused, case_id)
    if len(readings) < len(reads):
        raise Refused(found)
    return readings
