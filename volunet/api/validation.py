"""The held-out cases of a run through its model, as masks on their own grids, and their scores.

Masks and scores are those of the network alone; how new masks are tidied is chosen on them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from volunet import config
from volunet.api.planning import Counted, quiet
from volunet.data.cases import Case
from volunet.data.read_case import CaseReading, findings_of, read_case
from volunet.errors import Stopped, WriteError
from volunet.evaluation.score import Score, refused_rows, score_case
from volunet.evaluation.summary import summarise, to_csv, to_json
from volunet.findings import Finding
from volunet.inference.postprocess import UNTIDIED
from volunet.inference.segmenter import Segmentation, Segmenter
from volunet.io.atomic import write_text
from volunet.io.write import write
from volunet.packaging.model_file import amend_model, load_model
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
    labels = segment.plan.labels
    candidates = candidates_for(labels, segment.fingerprint)
    out = folder / "validation"
    out.mkdir(exist_ok=True)
    scores: list[Score] = []
    findings: list[Finding] = []
    trials: list[Trial] = []
    for done, case in enumerate(cases, start=1):
        try:
            read, found = _segment(case, segment, accept)
            write(found.labels, out / f"{case.case_id}.nii.gz")
            seen = score_case(
                case.case_id, read.label, found.labels, labels, tolerance_mm=tolerance_mm
            )
            tried = try_candidates(read.label, found.labels, labels, candidates, case=case)
            scores += seen
            trials.append(tried)
            findings += [f.at(case=case.case_id) for f in found.findings]
        except (WriteError, Stopped):
            raise
        except Exception as error:  # whatever one case does, the others are scored
            findings += findings_of(error, case.case_id)
            scores += refused_rows(case.case_id, labels, tolerance_mm)
        counted("segmenting held-out cases", done, len(cases))
    summary, choice = summarise(scores, labels), choose_tidy(trials, candidates)
    _keep(folder, scores, summary, choice)
    return Validated(tuple(scores), summary, tuple(findings), choice)


def _segment(
    case: Case, segment: Segmenter, accept: Collection[str]
) -> tuple[CaseReading, Segmentation]:
    channels, labels = len(segment.plan.channels), segment.plan.labels
    read = read_case(case, channels=channels, labels=labels, accept=accept)
    return read, segment(read.image, accept=accept)


def _keep(
    folder: Path, scores: Sequence[Score], summary: Mapping[str, object], choice: Choice
) -> None:
    out = folder / "validation"
    write_text(out / "metrics.csv", to_csv(scores))
    write_text(out / "summary.json", to_json(summary))
    write_text(out / "tidy.json", config.to_json(choice))
    amend_model(folder, tidy=choice.tidy)
