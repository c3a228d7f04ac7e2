"""The held-out cases of a run whose model estimates values, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from volunet.api.planning import Counted, quiet
from volunet.api.validation import counts_of
from volunet.data.cases import Case
from volunet.data.read_case import findings_of, read_images
from volunet.data.read_target import TargetReading, place_target, read_target_case
from volunet.errors import Stopped, WriteError
from volunet.evaluation.summary import means_of, to_json
from volunet.evaluation.value_summary import summarise_values, values_to_csv
from volunet.evaluation.values import ValueScore, score_values, unscored
from volunet.findings import Finding
from volunet.io.atomic import write_text
from volunet.io.write import write
from volunet.packaging.model_file import amend_model, load_model, read_model_file
from volunet.planning.any_plan import AnyPlan
from volunet.space.volume import Volume


@dataclass(frozen=True)
class ValidatedValues:
    """Scores of held-out cases with targets.

    Args:
        scores: one row a case and target.
        summary: what `validation/summary.json` holds.
        findings: of the cases, refused ones among them.
    """

    scores: tuple[ValueScore, ...]
    summary: dict[str, object]
    findings: tuple[Finding, ...]


Look = Callable[[Case, TargetReading], tuple[Volume, tuple[Finding, ...]]]


def validate_estimates(
    folder: Path,
    cases: Sequence[Case],
    *,
    device: torch.device,
    accept: Collection[str] = (),
    counted: Counted = quiet,
) -> ValidatedValues | None:
    """Writes `validation/<case_id>.nii.gz`, `metrics.csv` and `summary.json` in a run's folder.

    Args:
        accept: codes of refusals to waive.

    Returns:
        None, and nothing written, where there are no cases.
    """
    if not cases:
        return None
    segment = load_model(folder, device=device)
    out = folder / "validation"
    out.mkdir(exist_ok=True)

    def look(case: Case, read: TargetReading) -> tuple[Volume, tuple[Finding, ...]]:
        found = segment(read.image, accept=accept)
        write(found.values, out / f"{case.case_id}.nii.gz", labels=False)
        return found.values, found.findings

    validated = _judge(segment.plan, cases, look, accept, counted)
    keep_scores(folder, validated)
    return validated


def judge_estimates(
    folder: Path,
    cases: Sequence[Case],
    *,
    accept: Collection[str] = (),
    counted: Counted = quiet,
) -> ValidatedValues:
    """The scores of estimates that lie in a run's `validation/` already; nothing is written.

    Args:
        folder: of the run, with its model.
        accept: codes of refusals to waive.
    """
    plan = read_model_file(folder).plan
    targets = 0 if plan.targets is None else len(plan.targets.names)

    def look(case: Case, read: TargetReading) -> tuple[Volume, tuple[Finding, ...]]:
        path = folder / "validation" / f"{case.case_id}.nii.gz"
        return read_images([path], channels=targets, accept=accept).volume, ()

    return _judge(plan, cases, look, accept, counted)


def keep_scores(folder: Path, validated: ValidatedValues) -> None:
    """Writes scores and summary; mean PSNR goes into the model too."""
    out = folder / "validation"
    write_text(out / "metrics.csv", values_to_csv(validated.scores))
    write_text(out / "summary.json", to_json(validated.summary))
    means = means_of(validated.summary, "psnr_db")
    amend_model(folder, training={"validation_psnr_db": means, **counts_of(validated.scores)})


def _judge(
    plan: AnyPlan,
    cases: Sequence[Case],
    look: Look,
    accept: Collection[str],
    counted: Counted,
) -> ValidatedValues:
    """Scores estimates of cases, whatever they come from."""
    assert plan.targets is not None, "the model estimates values"
    names, channels = plan.targets.names, len(plan.channels)
    scores: list[ValueScore] = []
    findings: list[Finding] = []
    for done, case in enumerate(cases, start=1):
        try:
            read = read_target_case(case, channels=channels, targets=len(names), accept=accept)
            made, found = look(case, read)
            placed = place_target(read.image.grid, made.grid) or made.grid
            estimate = Volume(made.voxels, placed)
            scores += score_values(case.case_id, read.target, estimate, names)
            findings += [f.at(case=case.case_id) for f in found]
        except (WriteError, Stopped):
            raise
        except Exception as error:  # whatever one case does, the others are scored
            findings += findings_of(error, case.case_id)
            scores += unscored(case.case_id, names, "refused")
        counted("estimating held-out cases", done, len(cases))
    return ValidatedValues(tuple(scores), summarise_values(scores, names), tuple(findings))
