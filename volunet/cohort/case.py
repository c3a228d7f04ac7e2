"""One scan of a cohort: read (or known to be done), segmented, measured, written, recorded."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from volunet.cohort.attempts import Attempts
from volunet.cohort.earlier import FOREIGN, is_foreign, still_holds
from volunet.cohort.failures import (
    Verdict,
    free_frames,
    is_disk_full,
    judge_error,
    judge_findings,
    traceback_of,
)
from volunet.cohort.journal import CaseRecord, Journal, Measurement
from volunet.cohort.protocol import Model, Segmented
from volunet.cohort.resources import watch_memory
from volunet.cohort.run_record import version_of
from volunet.data.cases import Scan
from volunet.data.content import sum_of_file, sum_of_files
from volunet.data.read_case import read_images
from volunet.errors import Stopped
from volunet.findings import Finding, Refused, finding
from volunet.io.masks import label_counts, refuse_guessed_sides
from volunet.io.names import PNG_CHANNELS, composed, is_picture
from volunet.io.reading import Reading
from volunet.io.write import write_announced
from volunet.planning.targets import Targets
from volunet.space.labels import Labels
from volunet.space.volume import Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is done to each scan.

    Args:
        out: folder of the masks.
        accept: codes of refusals to waive.
        journal: of the folder, with the records of earlier runs.
        inputs: how tables call each scan's files, by case id.
        attempts: cases that a process did not survive.
    """

    model: Model
    out: Path
    accept: frozenset[str]
    journal: Journal
    inputs: Mapping[str, str]
    attempts: Attempts

    def sums_of(self, case_id: str) -> set[str]:
        """The SHA-256 of all masks of a case that volunet wrote, or was about to write."""
        return self.journal.sums.get(case_id, set()) | self.attempts.sums_of(case_id)


@dataclass(frozen=True)
class Ready:
    """A scan before it is segmented.

    Args:
        found: what was read; or the record of an earlier run, where the case needs not be done
            again; or why nothing could be read.
        key: of the record to come, empty where the files cannot be read.
        seconds: spent so far.
    """

    scan: Scan
    found: Reading | CaseRecord | Exception
    key: str
    seconds: float


def output_name(case_id: str, image: Path | str, targets: Targets | None = None) -> str:
    """The name of a case's mask or values: PNG for a picture where it fits, NIfTI for all else.

    Args:
        image: the name of a file that the mask is of.
        targets: what is estimated in place of a mask, which not always fits pixels.
    """
    fits = targets is None or (targets.top > 0 and len(targets.names) in PNG_CHANNELS)
    return f"{case_id}.png" if fits and is_picture(image) else f"{case_id}.nii.gz"


def name_input(scan: Scan, root: Path | None) -> str:
    """A scan's files below `root`, with ";" between; those elsewhere by their names alone."""
    names = []
    for path in scan.images:
        is_below = root is not None and path.is_relative_to(root) and path != root
        names.append(path.relative_to(root).as_posix() if root and is_below else path.name)
    return composed(";".join(names))


def key_of(scan: Scan, work: Work) -> str:
    """Hash of all that a case's record rests on.

    The files' names are part of it, as a name that lies about its content may have been refused.

    Raises:
        Refused: a file cannot be read.
    """
    parts = [
        sum_of_files(scan.images),
        [os.fsencode(path.name).hex() for path in scan.images],
        work.model.identity,
        version_of("volunet"),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read(scan: Scan, work: Work) -> Reading:
    work.model.admit(scan.images, accept=work.accept)
    plan = work.model.plan
    reading = read_images(scan.images, channels=len(plan.channels), accept=work.accept)
    if plan.labels.tells_sides:
        refuse_guessed_sides(reading.findings, work.accept)
    return reading


def make_ready(scan: Scan, work: Work) -> Ready:
    """Reads a scan, unless an earlier record of it still holds. Never raises an Exception."""
    started, key = time.monotonic(), ""
    found: Reading | CaseRecord | Exception
    try:
        if scan.refused:
            raise Refused(scan.findings)
        key = key_of(scan, work)
        found = _still_holding(scan.case_id, key, work) or _begin(scan, key, work)
    except Exception as error:  # whatever it is, it must not stop the other scans
        found = error
    return Ready(scan, found, key, time.monotonic() - started)


def _begin(scan: Scan, key: str, work: Work) -> Reading:
    """Reads a scan, unless it ended the process each time, or a mask of it is not volunet's."""
    mask = work.out / _output_of(scan, work)
    if is_foreign(mask, work.sums_of(scan.case_id)):
        message = f"{mask.name} was not written by volunet, or was changed since."
        raise Refused([finding(FOREIGN, message).at(case=scan.case_id)])
    if work.attempts.given_up(scan.case_id, key):
        message = "The process ended each time it was at work on this scan."
        raise Refused([finding("RUN-KILLED", message).at(case=scan.case_id)])
    work.attempts.begin(scan.case_id, key)
    return _read(scan, work)


@dataclass(frozen=True)
class Made:
    """A scan after it was segmented, and before its mask is kept; it holds no voxels of the scan.

    Args:
        found: its labels; or the record of an earlier run; or why there are none.
        findings: about its files.
        steps: seconds by step so far.
        peak_gb: the most memory the process held while it was segmented.
    """

    scan: Scan
    found: Segmented | CaseRecord | Exception
    key: str
    findings: tuple[Finding, ...] = ()
    steps: Mapping[str, float] = field(default_factory=dict)
    peak_gb: float | None = None


def segment(ready: Ready, work: Work) -> Made:
    """Segments a scan that was read. Never raises an Exception."""
    steps = {"read": ready.seconds}
    if not isinstance(ready.found, Reading):
        return Made(ready.scan, ready.found, ready.key, ready.scan.findings, steps)
    started, peak_gb = time.monotonic(), watch_memory()
    found: Segmented | Exception
    inside: Mapping[str, float] = {}
    try:
        found = work.model(ready.found.volume, accept=work.accept)
        inside = found.steps
    except Exception as error:  # whatever it is, it must not stop the other scans
        found = error
    rest = time.monotonic() - started - sum(inside.values())
    steps |= {**inside, "other": max(rest, 0.0)}
    findings = (*ready.scan.findings, *ready.found.findings)
    return Made(ready.scan, found, ready.key, findings, steps, peak_gb())


def keep(made: Made, work: Work) -> CaseRecord:
    """Writes the mask of a scan; gives an earlier record back where it still holds.

    Raises:
        Stopped: the disk is full; nothing is left of the case.
    """
    if isinstance(made.found, CaseRecord):
        return made.found
    scan, started = made.scan, time.monotonic()
    record = CaseRecord(
        case_id=scan.case_id,
        status="failed",
        key=made.key,
        accept=tuple(sorted(work.accept)),
        input=work.inputs[scan.case_id],
    )
    try:
        if isinstance(made.found, Exception):
            free_frames(made.found)
            raise made.found
        record = _write(made, made.found, work, record)
    except Exception as error:  # whatever it is, it must not stop the other scans
        if is_disk_full(error):
            raise Stopped(
                "The disk is full. Finished cases are kept: free some space and run it again."
            ) from error
        record = _with(record, _judge(error, scan, work))
    steps = {**made.steps, "write": time.monotonic() - started}
    return replace(
        record,
        seconds=round(sum(steps.values()), 3),
        steps={name: round(s, 4) for name, s in steps.items()},
        peak_gb=_rounded(made.peak_gb),
    )


def measure(labels: Volume, of: Labels) -> tuple[Measurement, ...]:
    """Voxels and volume of each structure, 0 where it is absent.

    Args:
        labels: (1, I, J, K) whole numbers; whatever it is where there are no structures.
    """
    if not of.structures:
        return ()
    counts = label_counts(labels.voxels)
    return tuple(
        Measurement(name, value, counts.get(value, 0), counts.get(value, 0) * labels.grid.voxel_ml)
        for name, value in of.structures.items()
    )


def _write(made: Made, found: Segmented, work: Work, record: CaseRecord) -> CaseRecord:
    colours = work.model.plan.labels.mask_colours
    labels = None if work.model.plan.targets is None else False
    out, sums = work.out / _output_of(made.scan, work), list[str]()

    def announce(part: Path) -> None:
        sums.append(sum_of_file(part))
        work.attempts.writes(record.case_id, sums[0])

    try:
        write_announced(found.labels, out, colours=colours, labels=labels, announce=announce)
        return replace(
            _with(record, judge_findings((*made.findings, *found.findings))),
            output=out.name,
            output_sha256=sums[0],
            measurements=measure(found.labels, work.model.plan.labels),
            how=found.how,
        )
    except BaseException:
        if sums and out.is_file() and sum_of_file(out) == sums[0]:
            out.unlink()  # a mask without a record
        raise


def _output_of(scan: Scan, work: Work) -> str:
    return output_name(scan.case_id, scan.images[-1], work.model.plan.targets)


def _judge(error: Exception, scan: Scan, work: Work) -> Verdict:
    files = (*scan.images, work.out / _output_of(scan, work))
    verdict = judge_error(error, files)
    if verdict.status != "refused":
        log.info("Case %s: %s\n%s", scan.case_id, verdict.status, traceback_of(error, files))
    return verdict


def _still_holding(case_id: str, key: str, work: Work) -> CaseRecord | None:
    """The earlier record, if there is one that holds."""
    record = work.journal.records.get(case_id)
    if record is None or not still_holds(record, key, work.out, work.accept):
        return None
    return replace(record, input=work.inputs[case_id])


def _with(record: CaseRecord, verdict: Verdict) -> CaseRecord:
    return replace(record, status=verdict.status, codes=verdict.codes, message=verdict.message)


def _rounded(gb: float | None) -> float | None:
    return None if gb is None else round(gb, 3)
