"""Every finding of a dataset or of a folder of scans; a case that cannot be read is one more.

Cases are read two at a time and let go; what is kept of each is its findings, the sum of its image
and the voxels of each label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from volunet.data.cases import Case, Dataset, Scan
from volunet.data.content import sum_of_voxels
from volunet.data.occurrence import judge_occurrence
from volunet.data.read_case import findings_of, read_case, read_images
from volunet.data.read_target import read_target_case
from volunet.data.splits import find_leaks, own_splits
from volunet.errors import DatasetError
from volunet.findings import Finding, Refused, finding
from volunet.findings import accept as waive
from volunet.io.masks import label_counts, read_mask
from volunet.io.scan import inspect
from volunet.space.labels import Labels

Progress = Callable[[int, int], None]
"""Told how many cases are done, and of how many."""

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Checked:
    """What is kept of one case.

    Args:
        content: a sum of the image's voxels, empty where it could not be read.
        voxels: of each label value in the label map, background included.
    """

    case_id: str
    findings: tuple[Finding, ...]
    content: str = ""
    voxels: Mapping[int, int] = field(default_factory=dict)


def check_dataset(
    dataset: Dataset, *, accept: Collection[str] = (), progress: Progress | None = None
) -> Iterator[Finding]:
    """Every finding of a dataset: those of each case as it is read, then those of the whole.

    Args:
        accept: codes of refusals to waive; they are found all the same, marked as accepted. What
            was waived to find the cases and is not among them refuses here.
        progress: called after each case.
    """
    for found in dataset.findings:
        yield replace(found, accepted=found.accepted and found.code in accept)
    checked: list[Checked] = []

    def look(case: Case) -> Checked:
        return _check_case(case, dataset, accept)

    for seen in _each(look, dataset.cases, progress):
        yield from seen.findings
        checked.append(seen)
    whole = [
        *judge_occurrence(
            {seen.case_id: seen.voxels for seen in checked if seen.voxels},
            dataset.labels,
            dataset.cases,
        ),
        *_find_duplicates(checked, {case.case_id: case.group for case in dataset.cases}),
        *_find_leaks(dataset.cases, checked),
    ]
    yield from waive(whole, accept)


def check_scans(
    scans: Sequence[Scan], *, accept: Collection[str] = (), progress: Progress | None = None
) -> Iterator[Finding]:
    """Every finding of scans that have no labels, those of `find_scans` included."""
    checked: list[Checked] = []

    def look(scan: Scan) -> Checked:
        return _check_scan(scan, accept)

    for seen in _each(look, scans, progress):
        yield from seen.findings
        checked.append(replace(seen, findings=()))
    yield from _find_duplicates(checked, {scan.case_id: scan.case_id for scan in scans})


def declare_labels(
    dataset: Dataset, *, accept: Collection[str] = (), progress: Progress | None = None
) -> Dataset:
    """The dataset with labels called by the values found in its files, where none are declared.

    Label maps that cannot be read are passed over; `check_dataset` tells why.

    Args:
        accept: codes of refusals to waive when label maps are read.
        progress: called after each case.

    Raises:
        Refused: no label map can be read.
        DatasetError: the label maps hold nothing but background.
    """
    if dataset.labels is not None:
        return dataset
    read = list(_each(partial(_values_of, accept=accept), dataset.cases, progress))
    values = {value for found, _ in read for value in found}
    if not values:
        raise Refused(f for _, findings in read for f in findings)
    if values == {0}:
        raise DatasetError("The label maps hold nothing but 0. Give maps with structures in them.")
    return replace(dataset, labels=Labels.of_values(values))


def _each(look: Callable[[T], S], items: Sequence[T], progress: Progress | None) -> Iterator[S]:
    """What `look` gives for each item, in order, two at a time."""
    pool = ThreadPoolExecutor(2)
    try:
        for done, seen in enumerate(pool.map(look, items), start=1):
            if progress is not None:
                progress(done, len(items))
            yield seen
    finally:
        pool.shutdown(cancel_futures=True)


def _check_case(case: Case, dataset: Dataset, accept: Collection[str]) -> Checked:
    channels = len(dataset.channels)
    try:
        if dataset.targets:
            aims = len(dataset.targets)
            pair = read_target_case(case, channels=channels, targets=aims, accept=accept)
            return Checked(case.case_id, pair.findings, sum_of_voxels(pair.image.voxels))
        read = read_case(case, channels=channels, labels=dataset.labels, accept=accept)
        content, voxels = sum_of_voxels(read.image.voxels), label_counts(read.label.voxels)
    except Exception as error:  # whatever one case does, the others are looked at
        return Checked(case.case_id, findings_of(error, case.case_id))
    return Checked(case.case_id, read.findings, content, voxels)


def _check_scan(scan: Scan, accept: Collection[str]) -> Checked:
    if scan.refused:
        return Checked(scan.case_id, scan.findings)
    try:
        if len(scan.images) == 1:  # whose axis of channels a model would take
            reading = inspect(scan.images[0], accept=accept, channels_in_file=True)
        else:
            reading = read_images(scan.images, accept=accept)
        reading = reading.of_case(scan.case_id)
        content = sum_of_voxels(reading.volume.voxels)
    except Exception as error:  # as above
        return Checked(scan.case_id, (*scan.findings, *findings_of(error, scan.case_id)))
    return Checked(scan.case_id, (*scan.findings, *reading.findings), content)


def _values_of(case: Case, *, accept: Collection[str]) -> tuple[set[int], tuple[Finding, ...]]:
    if case.label is None:
        return set(), ()
    try:
        return set(label_counts(read_mask(case.label, accept=accept).volume.voxels)), ()
    except Refused as refused:
        return set(), findings_of(refused, case.case_id)


def _find_duplicates(checked: Sequence[Checked], groups: Mapping[str, str]) -> Iterator[Finding]:
    """A finding for each image that several cases have."""
    same: dict[str, list[str]] = defaultdict(list)
    for case in checked:
        same[case.content].append(case.case_id)
    for content, ids in same.items():
        if content and len(ids) > 1:
            message = f"The cases {', '.join(map(repr, ids))} have the same image."
            grouped = len({groups[case_id] for case_id in ids}) == 1
            advice = "Remove all but one; they are in one group, so no split parts them."
            told = finding("SET-DUPLICATE-IMAGE", message, advice=advice if grouped else None)
            yield told.at(case=ids[0])


def _find_leaks(cases: Sequence[Case], checked: Sequence[Checked]) -> Iterator[Finding]:
    """What leaks in the splits that the cases themselves carry, each once."""
    contents = {c.case_id: c.content for c in checked if c.content}
    told: set[tuple[str, str]] = set()
    for split in own_splits(cases):
        for leak in find_leaks(split, cases, contents):
            if (leak.case, leak.message) not in told:
                told.add((leak.case, leak.message))
                yield leak
