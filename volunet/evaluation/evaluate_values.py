"""From two folders of predicted and right values to a table of scores and a summary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volunet.config import read_values
from volunet.errors import ConfigError
from volunet.evaluation.evaluate import (
    beside,
    cases_of,
    none_predicted,
    on_grid_of,
    refusal_of,
)
from volunet.evaluation.pairs import Pair, pair_values
from volunet.evaluation.summary import to_json
from volunet.evaluation.value_summary import summarise_values, values_to_csv
from volunet.evaluation.values import ValueScore, score_values, unscored
from volunet.findings import Finding, Refused
from volunet.io.atomic import write_text
from volunet.io.names import is_picture
from volunet.io.scan import inspect, read_header
from volunet.space.picture import COLOURS
from volunet.space.volume import Volume

CHANGES_VALUES = ("IMG-NONFINITE", "IMG-SCALE-IGNORED")
"""What reading a file may find that changes its values, and so its scores."""


@dataclass(frozen=True, slots=True)
class ValueEvaluation:
    """The scores of a folder of predicted values.

    Args:
        scores: one row a case and target.
        summary: what `summary.json` holds.
        missing: ids of cases without a prediction; they enter no mean.
        refused: ids of cases with a file that could not be used; they enter no mean.
        findings: why they were refused, and which values were set to others in reading.
    """

    scores: tuple[ValueScore, ...]
    summary: dict[str, Any]
    missing: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def evaluate_values(
    predictions: Path | str,
    references: Path | str,
    out: Path | str | None = None,
    *,
    targets: Sequence[str] | None = None,
    only_predicted: bool = False,
    accept: Collection[str] = (),
    seed: int = 0,
) -> ValueEvaluation:
    """Score a folder of predicted values against a folder of right ones, case by case.

    A case that cannot be scored never stops the others: it is `refused` with its findings.

    Args:
        predictions: folder of scans or pictures, with one channel a target.
        references: folder of scans or pictures of the same names; a suffix may differ.
        out: folder for `metrics.csv` and `summary.json`; nothing is written where it is None.
        targets: names of the channels. Else the "targets" of a `labels.json` beside the references'
            folder, and without these "target"; or "target_1", "target_2", ... for several, or the
            colours of a picture.
        only_predicted: leave references without a prediction out, instead of telling them as
            missing.
        accept: codes of refusals to waive; GEO-MISMATCH compares voxel by voxel where there are as
            many.
        seed: of the bootstrap intervals.

    Raises:
        ConfigError: a folder is not there, a prediction has no reference, or labels.json names
            targets in a way that is not understood.
        Refused: there is no reference, or no prediction where only those count; or two files have
            one case id.
        WriteError: the files could not be written.
    """
    found = pair_values(Path(predictions), Path(references))
    pairs = [pair for pair in found if pair.prediction or not only_predicted]
    if not pairs:
        raise Refused([none_predicted(Path(predictions))])
    names = tuple(targets or _declared(Path(references)) or _counted(pairs))
    scores: list[ValueScore] = []
    findings: list[Finding] = []
    for pair in pairs:
        rows, told = _score_pair(pair, names, accept)
        scores += rows
        findings += told
    summary = cases_of(found, scores, [f for f in findings if f.refuses])
    summary = summarise_values(scores, names, seed=seed) | summary | {"accepted": sorted(accept)}
    cases = summary["cases"]
    changed = {f.case: f.code for f in findings if not f.refuses}
    cases["values_changed"] = dict(sorted(changed.items()))
    evaluation = ValueEvaluation(
        tuple(scores), summary, tuple(cases["missing"]), tuple(cases["refused"]), tuple(findings)
    )
    if out is not None:
        _write(Path(out), evaluation)
    return evaluation


def _score_pair(
    pair: Pair, targets: Sequence[str], accept: Collection[str]
) -> tuple[list[ValueScore], tuple[Finding, ...]]:
    """The rows of one case; what refuses it is told, not raised."""
    if pair.prediction is None:
        return unscored(pair.case_id, targets, "missing"), ()
    try:
        right = inspect(pair.reference, accept=accept, channels_in_file=True)
        predicted = inspect(pair.prediction, accept=accept, channels_in_file=True)
        placed = _placed(right.volume, pair, predicted.volume)
        given = on_grid_of(placed, predicted.volume, accept)
        rows = score_values(pair.case_id, placed, given, targets)
    except Exception as error:  # the others are scored
        return unscored(pair.case_id, targets, "refused"), refusal_of(error, pair.case_id)
    found = (*right.findings, *predicted.findings)
    return rows, tuple(f.at(case=pair.case_id) for f in found if f.code in CHANGES_VALUES)


def _placed(reference: Volume, pair: Pair, prediction: Volume) -> Volume:
    """The reference, where a picture, which does not say how wide its pixels are, is predicted."""
    is_alike = is_picture(pair.reference) and reference.grid.shape == prediction.grid.shape
    return Volume(reference.voxels, prediction.grid) if is_alike else reference


def _declared(references: Path) -> tuple[str, ...]:
    """The targets that the labels.json beside the references names; () where it names none."""
    path = beside(references)
    said = read_values(path).get("targets", []) if path.is_file() else []
    is_list = isinstance(said, list) and all(isinstance(name, str) and name for name in said)
    if not is_list or len(set(said)) < len(said):
        raise ConfigError(
            f'{path.name}: targets is a list of different names, like ["CT"], got {said!r}. Name '
            "the channels of the references in their order, or leave it out."
        )
    return tuple(said)


def _counted(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """Names for as many targets as the first reference that can be read has channels.

    The colours of a picture are called as they are in training.
    """
    for pair in pairs:
        try:
            channels = read_header([pair.reference], channels_in_file=True).channels
        except Exception:  # told when the case is scored
            continue
        if channels == len(COLOURS) and is_picture(pair.reference):
            return COLOURS
        if channels > 1:
            return tuple(f"target_{place}" for place in range(1, channels + 1))
        break
    return ("target",)


def _write(out: Path, evaluation: ValueEvaluation) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "metrics.csv", values_to_csv(evaluation.scores))
    write_text(out / "summary.json", to_json(evaluation.summary))
