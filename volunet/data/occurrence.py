"""Which structures occur in which cases, and what is wrong with that in the cases together.

A case is here the set of the label values in its map; background and voxels that nobody judged are
no structures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from volunet.data.cases import Case
from volunet.data.splits import own_splits
from volunet.findings import Finding, finding
from volunet.space.labels import Labels

MOST_EMPTY = 0.2
"""Share of cases without any structure above which a dataset is refused."""


def judge_occurrence(
    values_of: Mapping[str, Collection[int]], labels: Labels | None, cases: Sequence[Case] = ()
) -> list[Finding]:
    """LBL-ALL-EMPTY, LBL-ABSENT and, in the splits that the cases carry, SET-ABSENT-TRAIN.

    Args:
        values_of: the values in the label map of each case that could be read; nothing is found
            where there is none.
        labels: what is declared; None where nothing is, so that nothing can be absent.
        cases: those whose own splits are judged.
    """
    ignored = {0, None if labels is None else labels.ignore}
    found_in = {case_id: set(values) - ignored for case_id, values in values_of.items()}
    findings = []
    empty = [case_id for case_id, values in found_in.items() if not values]
    if len(empty) > MOST_EMPTY * len(found_in):
        said = f"{len(empty)} of {len(found_in)} label maps are all background, as of {empty[:3]}."
        findings.append(finding("LBL-ALL-EMPTY", said, empty=len(empty), cases=len(found_in)))
    seen = set[int]().union(*found_in.values())
    for name, value in ({} if labels is None or not found_in else labels.structures).items():
        if value not in seen:
            message = f"Label {name!r} ({value}) occurs in none of {len(found_in)} cases."
            findings.append(finding("LBL-ABSENT", message, value=value))
    for split in own_splits(cases):
        train, held_out = (
            set[int]().union(*(found_in.get(case_id, set()) for case_id in side))
            for side in (split.train, split.validation)
        )
        findings += find_untrained(train, held_out, labels)
    return findings


def find_untrained(
    train: Collection[int], held_out: Collection[int], labels: Labels | None
) -> Iterator[Finding]:
    """A warning SET-ABSENT-TRAIN for each value that occurs in validation and not in training."""
    names = {} if labels is None else {value: name for name, value in labels.structures.items()}
    for value in sorted(set(held_out) - set(train)):
        message = f"Label {names.get(value, str(value))!r} is in validation, not in training."
        yield finding("SET-ABSENT-TRAIN", message, value=value)
