"""Looks at every training case once, for the fingerprint that a plan is made from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from volunet.data.cases import Case
from volunet.data.occurrence import judge_occurrence
from volunet.data.read_case import findings_of, read_case
from volunet.data.read_target import read_target_case
from volunet.findings import Finding, Refused, finding
from volunet.findings import accept as waive
from volunet.planning.fingerprint import CaseFacts, Fingerprint, take_facts, take_target_facts
from volunet.space.labels import Labels

READERS = 2
"""Cases in memory at a time."""


@dataclass(frozen=True)
class Survey:
    """What was learnt of the cases that could be read, and what was found about all.

    Args:
        findings: those of each case, then those of the cases together, which name no case.
        refused: ids of the cases that could not be used.
    """

    fingerprint: Fingerprint
    findings: tuple[Finding, ...]
    refused: tuple[str, ...]

    @property
    def of_all(self) -> tuple[Finding, ...]:
        """The findings about the cases together."""
        return tuple(found for found in self.findings if not found.case)


def none_left(message: str, findings: Sequence[Finding]) -> Refused:
    """That not one case is left, and why."""
    none = finding("SET-EMPTY", message, advice="Mend what is told of each.")
    return Refused([none, *findings])


def survey(
    cases: Sequence[Case],
    labels: Labels,
    channels: int,
    *,
    targets: int = 0,
    accept: Collection[str] = (),
    whole: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """The fingerprint of labelled cases; one that is refused does not stop the others.

    Args:
        channels: how many each image must have.
        whole: these are all cases of a dataset, so that its own splits are judged too.
        targets: how many each case must have, in place of labels.
        accept: codes of refusals to waive.
        progress: called after each case with the number done and of how many.

    Raises:
        Refused: not one case could be used.
    """

    facts: dict[str, CaseFacts] = {}
    findings: list[Finding] = []
    pool = ThreadPoolExecutor(READERS)
    if targets:
        look = partial(_look_at_targets, channels=channels, targets=targets, accept=accept)
    else:
        look = partial(_look, labels=labels, channels=channels, accept=accept)
    looks = pool.map(look, cases)
    try:
        for done, (case, (fact, found)) in enumerate(zip(cases, looks, strict=True), start=1):
            findings += found
            if fact is not None:
                facts[case.case_id] = fact
            if progress is not None:
                progress(done, len(cases))
    finally:  # whoever stops here does not wait for all the other cases
        pool.shutdown(cancel_futures=True)
    if not facts:
        raise none_left(f"None of the {len(cases)} cases can be used.", findings)
    refused = tuple(case.case_id for case in cases if case.case_id not in facts)
    fingerprint = Fingerprint(cases=facts)
    if not targets:
        findings += waive(judge_survey(fingerprint, labels, cases if whole else ()), accept)
    return Survey(fingerprint, tuple(findings), refused)


def judge_survey(
    fingerprint: Fingerprint, labels: Labels, cases: Sequence[Case] = ()
) -> list[Finding]:
    """What is wrong with the label maps taken together: LBL-ALL-EMPTY, LBL-ABSENT.

    Args:
        cases: those whose own splits are judged as well (SET-ABSENT-TRAIN).
    """
    values_of = {
        case_id: {labels.structures[name] for name, ml in facts.volumes_ml.items() if ml > 0}
        for case_id, facts in fingerprint.cases.items()
    }
    return judge_occurrence(values_of, labels, cases)


Seen = tuple[CaseFacts | None, tuple[Finding, ...]]
"""The facts of a case, or None and why it cannot be used."""


def _look(case: Case, *, labels: Labels, channels: int, accept: Collection[str]) -> Seen:
    try:
        read = read_case(case, channels=channels, labels=labels, accept=accept)
        facts = take_facts(read.image, read.label, labels)
        drawn = labels.names if case.labelled is None else case.labelled
        known = {name: facts.volumes_ml[name] for name in drawn}
        return facts.model_copy(update={"volumes_ml": known}), read.findings
    except Exception as error:  # whatever one case does, the others are looked at
        return None, findings_of(error, case.case_id)


def _look_at_targets(case: Case, *, channels: int, targets: int, accept: Collection[str]) -> Seen:
    try:
        read = read_target_case(case, channels=channels, targets=targets, accept=accept)
        facts = take_target_facts(read.image, read.target, finer=read.finer, top=read.top)
        return facts, read.findings
    except Exception as error:  # as above
        return None, findings_of(error, case.case_id)
