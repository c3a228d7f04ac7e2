"""Every finding of a dataset or of a folder of scans; a case that cannot be read is one more.

Cases are read two at a time and let go; what is kept of each is its findings, the sum of its image
and the voxels of each label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from volunet.data.cases import Case, Dataset, Scan
from volunet.data.content import sum_of_voxels
from volunet.data.read_case import findings_of, read_case, read_images
from volunet.data.splits import Split, find_leaks
from volunet.errors import DatasetError
from volunet.findings import Finding, Refused, finding
from volunet.findings import accept as waive
from volunet.io.masks import label_counts, read_mask
from volunet.space.labels import Labels

Progress = Callable[[int, int], None]
"""Told how many cases are done, and of how many."""

MOST_EMPTY = 0.2
"""Share of cases without any structure above which a dataset is refused."""

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
        accept: codes of refusals to waive; they are found all the same, marked as accepted.
        progress: called after each case.
    """
    yield from dataset.findings
    checked: list[Checked] = []

    def look(case: Case) -> Checked:
        return _check_case(case, dataset, accept)

    for seen in _each(look, dataset.cases, progress):
        yield from seen.findings
        checked.append(seen)
    whole = [
        *_judge_labels(checked, dataset.labels),
        *_find_duplicates(checked, {case.case_id: case.group for case in dataset.cases}),
        *_judge_own_splits(dataset.cases, checked, dataset.labels),
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


def declare_labels(dataset: Dataset, *, progress: Progress | None = None) -> Dataset:
    """The dataset with labels called by the values found in its files, where none are declared.

    Label maps that cannot be read are passed over; `check_dataset` tells why.

    Raises:
        Refused: no label map can be read.
        DatasetError: the label maps hold nothing but background.
    """
    if dataset.labels is not None:
        return dataset
    read = list(_each(_values_of, dataset.cases, progress))
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
        read = read_case(case, channels=channels, labels=dataset.labels, accept=accept)
        content, voxels = sum_of_voxels(read.image.voxels), label_counts(read.label.voxels)
    except Exception as error:  # whatever one case does, the others are looked at
        return Checked(case.case_id, findings_of(error, case.case_id))
    return Checked(case.case_id, read.findings, content, voxels)


def _check_scan(scan: Scan, accept: Collection[str]) -> Checked:
    if scan.refused:
        return Checked(scan.case_id, scan.findings)
    try:
        reading = read_images(scan.images, accept=accept).of_case(scan.case_id)
        content = sum_of_voxels(reading.volume.voxels)
    except Exception as error:  # as above
        return Checked(scan.case_id, (*scan.findings, *findings_of(error, scan.case_id)))
    return Checked(scan.case_id, (*scan.findings, *reading.findings), content)


def _values_of(case: Case) -> tuple[set[int], tuple[Finding, ...]]:
    try:
        return (set(label_counts(read_mask(case.label).volume.voxels)) if case.label else set(), ())
    except Refused as refused:
        return set(), findings_of(refused, case.case_id)


def _judge_labels(checked: Sequence[Checked], labels: Labels | None) -> Iterator[Finding]:
    """What is wrong with the label maps taken together."""
    read = [c for c in checked if c.voxels]
    empty = [c.case_id for c in read if set(c.voxels) == {0}]
    if len(empty) > MOST_EMPTY * len(read):
        message = f"{len(empty)} of {len(read)} label maps are all background, as of {empty[:3]}."
        yield finding("LBL-ALL-EMPTY", message, empty=len(empty), cases=len(read))
    total = Counter[int]()
    for case in read:
        total.update(case.voxels)
    for name, value in (labels.structures if labels is not None and read else {}).items():
        if not total[value]:
            yield finding("LBL-ABSENT", f"Label {name!r} ({value}) occurs in no case.", value=value)


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


def _judge_own_splits(
    cases: Sequence[Case], checked: Sequence[Checked], labels: Labels | None
) -> Iterator[Finding]:
    """What is wrong with the splits that the cases themselves carry."""
    contents = {c.case_id: c.content for c in checked if c.content}
    found_in = {c.case_id: set(c.voxels) for c in checked}
    known = {} if labels is None else {value: name for name, value in labels.structures.items()}
    told: set[tuple[str, str]] = set()
    for split in _own_splits(cases):
        for leak in find_leaks(split, cases, contents):
            if (leak.case, leak.message) not in told:
                told.add((leak.case, leak.message))
                yield leak
        train, held_out = (
            set[int]().union(*(found_in.get(i, set()) for i in side))
            for side in (split.train, split.validation)
        )
        for value in sorted(held_out - train - {0}):
            message = f"Label {known.get(value, str(value))!r} is in validation, not in training."
            yield finding("SET-ABSENT-TRAIN", message, value=value)


def _own_splits(cases: Sequence[Case]) -> Iterator[Split]:
    """The splits that the columns `split` and `fold` make."""
    sides = {
        side: tuple(c.case_id for c in cases if c.split == side) for side in ("train", "validation")
    }
    if all(sides.values()):
        yield Split(**sides)
    for fold in sorted({c.fold for c in cases if c.fold is not None}):
        held_out = tuple(c.case_id for c in cases if c.fold == fold)
        train = tuple(c.case_id for c in cases if c.fold not in (fold, None))
        if train:
            yield Split(train=train, validation=held_out)
