"""The held-out cases of a run through its model, as masks on their own grids, and their scores."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from volunet.api.planning import Counted, quiet
from volunet.data.cases import Case
from volunet.data.read_case import findings_of, read_case
from volunet.errors import Stopped, WriteError
from volunet.evaluation.score import Score, refused_rows, score_case
from volunet.evaluation.summary import summarise, to_csv, to_json
from volunet.findings import Finding
from volunet.io.atomic import write_text
from volunet.io.write import write
from volunet.packaging.model_file import load_model


@dataclass(frozen=True)
class Validated:
    """Scores of held-out cases.

    Args:
        scores: one row a case and structure.
        summary: what `validation/summary.json` holds.
        findings: of the cases, refused ones among them.
    """

    scores: tuple[Score, ...]
    summary: dict[str, object]
    findings: tuple[Finding, ...]


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

    Args:
        accept: codes of refusals to waive.

    Returns:
        None, and nothing written, where there are no cases.
    """
    if not cases:
        return None
    segment = load_model(folder, device=device)
    labels = segment.plan.labels
    out = folder / "validation"
    out.mkdir(exist_ok=True)
    scores: list[Score] = []
    findings: list[Finding] = []
    for done, case in enumerate(cases, start=1):
        try:
            channels = len(segment.plan.channels)
            read = read_case(case, channels=channels, labels=labels, accept=accept)
            found = segment(read.image, accept=accept)
            write(found.labels, out / f"{case.case_id}.nii.gz")
            scores += score_case(
                case.case_id, read.label, found.labels, labels, tolerance_mm=tolerance_mm
            )
            findings += [f.at(case=case.case_id) for f in found.findings]
        except (WriteError, Stopped):
            raise
        except Exception as error:  # whatever one case does, the others are scored
            findings += findings_of(error, case.case_id)
            scores += refused_rows(case.case_id, labels, tolerance_mm)
        counted("segmenting held-out cases", done, len(cases))
    summary = summarise(scores, labels)
    write_text(out / "metrics.csv", to_csv(scores))
    write_text(out / "summary.json", to_json(summary))
    return Validated(tuple(scores), summary, tuple(findings))
