"""The held-out cases of a run through its model, as masks on their own grids, and their scores.

Masks and scores are those of the network alone; how new masks are tidied is chosen on them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from volunet import config
from volunet.api.planning import Counted, quiet
from volunet.data.cases import Case
from volunet.data.read_case import CaseReading, findings_of, read_case
from volunet.errors import Stopped, WriteError
from volunet.evaluation.score import Score, refused_rows, score_case
from volunet.evaluation.summary import means_of, summarise, to_csv, to_json
from volunet.evaluation.values import ValueScore
from volunet.findings import Finding
from volunet.inference.postprocess import UNTIDIED
from volunet.io.atomic import write_text
from volunet.io.masks import read_mask
from volunet.io.write import write
from volunet.packaging.model_file import amend_model, load_model, read_model_file
from volunet.planning.any_plan import AnyPlan
from volunet.planning.fingerprint import Fingerprint
from volunet.space.volume import Volume
from volunet.training.tidying import Choice, Trial, candidates_for, choose_tidy, try_candidates


@dataclass(frozen=True)
class Validated:
    """Scores of held-out cases.

    Args:
        scores: one row a case and structure.
        summary: what `validation/summary.json` holds.
        findings: of the cases, refused ones among them.
        choice: how structures are tidied from now on.
    """

    scores: tuple[Score, ...]
    summary: dict[str, object]
    findings: tuple[Finding, ...]
    choice: Choice


def validate_run(
    folder: Path,
    cases: Sequence[Case],
    *,
    device: torch.device,
    tolerance_mm: float,
    accept: Collection[str] = (),
    counted: Counted = quiet,
) -> Validated | None:
    """Writes `validation/<case_id>.nii.gz`, `metrics.csv` and `summary.json` in a run's folder.

    How structures are tidied from now on goes to `validation/tidy.json` and into the model.

    Args:
        accept: codes of refusals to waive.

    Returns:
        None, and nothing written, where there are no cases.
    """
    if not cases:
        return None
    segment = replace(load_model(folder, device=device), tidy=UNTIDIED)
    out = folder / "validation"
    out.mkdir(exist_ok=True)

    def look(case: Case, read: CaseReading) -> tuple[Volume, tuple[Finding, ...]]:
        found = segment(read.image, accept=accept)
        write(found.labels, out / f"{case.case_id}.nii.gz")
        return found.labels, found.findings

    judged = _Judge(segment.plan, segment.fingerprint, tolerance_mm, accept)
    validated = judged(cases, look, "segmenting held-out cases", counted)
    keep_validation(folder, validated)
    return validated


def judge_masks(
    folder: Path,
    cases: Sequence[Case],
    *,
    tolerance_mm: float,
    accept: Collection[str] = (),
    counted: Counted = quiet,
) -> Validated:
    """The scores of masks that lie in a run's `validation/` already; nothing is written.

    Args:
        folder: of the run, with its model.
        accept: codes of refusals to waive.
    """
    model = read_model_file(folder)

    def look(case: Case, read: CaseReading) -> tuple[Volume, tuple[Finding, ...]]:
        path = folder / "validation" / f"{case.case_id}.nii.gz"
        return read_mask(path, model.plan.labels, accept=accept).volume, ()

    judged = _Judge(model.plan, model.fingerprint, tolerance_mm, accept)
    return judged(cases, look, "scoring held-out cases", counted)


def keep_validation(folder: Path, validated: Validated) -> None:
    """Writes scores, summary and tidying; mean Dice and tidying go into the model too."""
    out = folder / "validation"
    write_text(out / "metrics.csv", to_csv(validated.scores))
    write_text(out / "summary.json", to_json(validated.summary))
    write_text(out / "tidy.json", config.to_json(validated.choice))
    told = {"validation_dice": means_of(validated.summary, "dice"), **counts_of(validated.scores)}
    amend_model(folder, tidy=validated.choice.tidy, training=told)


def counts_of(scores: Sequence[Score | ValueScore]) -> dict[str, int]:
    """How many cases were held out, and how many of them could be scored."""
    scored = {score.case_id for score in scores if score.status != "refused"}
    return {"held_out": len({score.case_id for score in scores}), "scored": len(scored)}


Look = Callable[[Case, CaseReading], tuple[Volume, tuple[Finding, ...]]]


@dataclass(frozen=True)
class _Judge:
    """Scores masks of cases and tries how to tidy them, whatever the masks come from."""

    plan: AnyPlan
    fingerprint: Fingerprint
    tolerance_mm: float
    accept: Collection[str]

    def __call__(
        self, cases: Sequence[Case], look: Look, doing: str, counted: Counted
    ) -> Validated:
        labels = self.plan.labels
        candidates = candidates_for(labels, self.fingerprint)
        scores: list[Score] = []
        findings: list[Finding] = []
        trials: list[Trial] = []
        for done, case in enumerate(cases, start=1):
            try:
                read = self._read(case)
                mask, found = look(case, read)
                seen = score_case(
                    case.case_id,
                    read.label,
                    mask,
                    labels,
                    tolerance_mm=self.tolerance_mm,
                    drawn=case.labelled,
                )
                tried = try_candidates(read.label, mask, labels, candidates, case=case)
                scores += seen
                trials.append(tried)
                findings += [f.at(case=case.case_id) for f in found]
            except (WriteError, Stopped):
                raise
            except Exception as error:  # whatever one case does, the others are scored
                findings += findings_of(error, case.case_id)
                scores += refused_rows(case.case_id, labels, self.tolerance_mm)
            counted(doing, done, len(cases))
        choice = choose_tidy(trials, candidates)
        return Validated(tuple(scores), summarise(scores, labels), tuple(findings), choice)

    def _read(self, case: Case) -> CaseReading:
        channels = len(self.plan.channels)
        return read_case(case, channels=channels, labels=self.plan.labels, accept=self.accept)
