"""From two folders of masks to a table of scores and a summary, one case in memory at a time."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from volunet.config import read_values
from volunet.errors import ConfigError, VolunetError
from volunet.evaluation.pairs import Pair, pair_masks
from volunet.evaluation.score import Score, refused_rows, score_case
from volunet.evaluation.summary import case_means, summarise, to_csv, to_json
from volunet.evaluation.values import ValueScore
from volunet.findings import Finding, Refused, Severity, finding
from volunet.io.atomic import write_text
from volunet.io.masks import label_counts, read_mask
from volunet.io.names import composed
from volunet.space.dataset_labels import labels_of_msd
from volunet.space.labels import Labels
from volunet.space.labels_file import OF_CASES, labelled_from, read_labels
from volunet.space.volume import Volume

log = logging.getLogger(__name__)
MISMATCH = "GEO-MISMATCH"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a folder of predictions.

    Args:
        scores: one row a case and structure.
        summary: what `summary.json` holds.
        missing: ids of cases without a prediction, scored as empty masks.
        refused: ids of cases with a file that could not be used; they enter no mean.
        findings: why they were refused; and warnings of values that predictions alone hold, and of
            cases that a labels.json names and that are not here.
    """

    scores: tuple[Score, ...]
    summary: dict[str, Any]
    missing: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def case_means(self, measure: str = "dice") -> dict[str, float]:
        """Each case's mean over what is averaged, to compare two systems case by case."""
        names = self.summary["averaged"]
        return case_means((s for s in self.scores if s.label in names), measure)


def evaluate(  # noqa: PLR0913 - what is scored and how is given as keywords
    predictions: Path | str,
    references: Path | str,
    out: Path | str | None = None,
    *,
    labels: Labels | None = None,
    tolerance_mm: float = 1.0,
    only_predicted: bool = False,
    accept: Collection[str] = (),
    seed: int = 0,
) -> Evaluation:
    """Score a folder of predictions against a folder of references.

    A case that cannot be scored never stops the others: it is `refused` with its findings.

    Args:
        predictions: folder of masks.
        references: folder of masks of the same names; a suffix may differ.
        out: folder for `metrics.csv` and `summary.json`; nothing is written where it is None.
        labels: what the values mean. Else a `labels.json` among the references or beside their
            folder says it, or a `dataset.json` beside it; without either labels are called by the
            values that are found.
            What the `labelled` of that labels.json leaves out of a case is not scored there.
        tolerance_mm: of the surface Dice (NSD).
        only_predicted: leave references without a prediction out, instead of scoring them as empty.
        accept: codes of refusals to waive; GEO-MISMATCH compares voxel by voxel where there are as
            many.
        seed: of the bootstrap intervals.

    Raises:
        ConfigError: a folder is not there, a prediction has no reference, the tolerance is
            negative or no number, a labels.json or dataset.json cannot be understood, or a
            labels.json says that something was drawn which is no label.
        Refused: there is no reference, or no prediction where only those count; two files have one
            case id; or no label is known.
        WriteError: the files could not be written.
    """
    if not (tolerance_mm >= 0 and isfinite(tolerance_mm)):
        raise ConfigError(f"The tolerance of NSD is 0 mm or more, got {tolerance_mm}.")
    found = pair_masks(Path(predictions), Path(references))
    pairs = [pair for pair in found if pair.prediction or not only_predicted]
    drawn: dict[str, tuple[str, ...]] = {}
    if not pairs:
        raise Refused([none_predicted(Path(predictions))])
    findings: list[Finding] = []
    if labels is None:
        labels, findings = _labels_of(Path(references), pairs, accept)
        drawn = _drawn(Path(references), labels)
        findings += _strangers(drawn, found)
    scores: list[Score] = []
    for pair in pairs:
        told = {"tolerance_mm": tolerance_mm, "drawn": drawn.get(pair.case_id)}
        rows, problems = _score_pair(pair, labels, accept, told)
        scores += rows
        findings += problems
    summary = cases_of(found, scores, [f for f in findings if f.refuses])
    summary |= {"nsd_tolerance_mm": tolerance_mm, "accepted": sorted(accept)}
    summary |= summarise(scores, labels, seed=seed)
    cases = summary["cases"]
    evaluation = Evaluation(
        tuple(scores), summary, tuple(cases["missing"]), tuple(cases["refused"]), tuple(findings)
    )
    if out is not None:
        _write(Path(out), evaluation)
    return evaluation


def _score_pair(
    pair: Pair, labels: Labels, accept: Collection[str], told: Mapping[str, Any]
) -> tuple[list[Score], tuple[Finding, ...]]:
    """The rows of one case; what refuses it is told, not raised.

    Args:
        told: what `score_case` is told.
    """
    try:
        reference = read_mask(pair.reference, labels, accept=accept).volume
        if pair.prediction is None:
            empty = reference.with_voxels(np.zeros(reference.voxels.shape, dtype=np.uint8))
            rows = score_case(pair.case_id, reference, empty, labels, **told)
            return [replace(r, status="missing") if r.status == "ok" else r for r in rows], ()
        prediction = read_mask(pair.prediction, labels, accept=accept).volume
        placed = on_grid_of(reference, prediction, accept)
        return score_case(pair.case_id, reference, placed, labels, **told), ()
    except Exception as error:  # the others are scored
        rows = refused_rows(pair.case_id, labels, told["tolerance_mm"])
        return rows, refusal_of(error, pair.case_id)


def on_grid_of(reference: Volume, prediction: Volume, accept: Collection[str]) -> Volume:
    """The prediction; voxel by voxel on the reference's grid where GEO-MISMATCH is waived."""
    alike = reference.grid.shape == prediction.grid.shape
    return replace(prediction, grid=reference.grid) if alike and MISMATCH in accept else prediction


def none_predicted(predictions: Path) -> Finding:
    """That not one reference has a prediction, where only those with one count."""
    advice = "Call predictions as their references are called."
    message = f"{predictions} holds no prediction of a reference."
    return finding("SET-EMPTY", message, advice=advice)


def refusal_of(error: Exception, case_id: str) -> tuple[Finding, ...]:
    """What an error that stopped the scoring of one case is told as."""
    if not isinstance(error, VolunetError):  # one of ours, which -v shows
        log.info("Case %s could not be scored", case_id, exc_info=error)
    kind = "" if isinstance(error, VolunetError) else f"{type(error).__name__}: "
    told = finding("RUN-FAILED", f"{kind}{error}")
    found = error.findings if isinstance(error, Refused) else (told,)
    return tuple(f.at(case=case_id) for f in found)


def beside(references: Path) -> Path:
    """Where a labels.json of the references stands, or would: among them or beside their folder."""
    among = references / "labels.json"
    return among if among.is_file() else references.resolve().parent / "labels.json"


def _drawn(references: Path, labels: Labels) -> dict[str, tuple[str, ...]]:
    """What the labels.json beside the references says was drawn in some cases."""
    path = beside(references)
    said = labelled_from(read_values(path), at=path.name) if path.is_file() else {}
    for case_id, names in said.items():
        if unknown := sorted(set(names) - set(labels.names)):
            raise ConfigError(
                f"{path.name}: labelled says that {unknown} were drawn in {case_id}, which are no "
                f"labels; known are {list(labels.names)}."
            )
    return {composed(case_id): names for case_id, names in said.items()}


def _strangers(drawn: Collection[str], pairs: Iterable[Pair]) -> list[Finding]:
    """A warning for each case of a labels.json that has no reference here."""
    known = {pair.case_id for pair in pairs}
    message = "labels.json: labelled names {!r}, which is no reference here."
    return [finding("SET-LABELLED", message.format(name)) for name in drawn if name not in known]


def _labels_of(
    references: Path, pairs: Collection[Pair], accept: Collection[str]
) -> tuple[Labels, list[Finding]]:
    """The labels declared beside the references, else those found, and what is odd about these."""
    declared = beside(references)
    if declared.is_file() and set(read_values(declared)) - OF_CASES:
        return read_labels(declared), []
    dataset = references.resolve().parent / "dataset.json"
    if dataset.is_file() and (table := read_values(dataset).get("labels")):
        return labels_of_msd(table), []
    right = ((pair.case_id, pair.reference) for pair in pairs)
    values, findings = _values_of(right, accept)
    if not values:
        message = f"No reference in {references} holds a label, and there is no labels.json."
        empty = finding("LBL-ALL-EMPTY", message, advice="Check the references.")
        raise Refused(findings or [empty])
    predicted = ((pair.case_id, pair.prediction) for pair in pairs if pair.prediction)
    if not (invented := _values_of(predicted, accept)[0] - values):
        return Labels.of_values(values), []
    message = f"Predictions hold the values {sorted(invented)}, which no reference holds."
    advice = (
        "They score 0. If both sides number structures differently, bring them to one numbering."
    )
    odd = finding("LBL-UNKNOWN", message, advice=advice, severity=Severity.WARN)
    return Labels.of_values(values | invented), [odd]


def _values_of(
    masks: Iterable[tuple[str, Path]], accept: Collection[str]
) -> tuple[set[int], list[Finding]]:
    """The label values in masks by their cases' ids, and why some of them cannot be read."""
    values: set[int] = set()
    findings: list[Finding] = []
    for case_id, path in masks:
        try:
            voxels = read_mask(path, accept=accept).volume.voxels
        except Exception as error:  # told when the case is scored, if any can be
            findings += refusal_of(error, case_id)
            continue
        values.update(value for value in label_counts(voxels) if value)
    return values, findings


def cases_of(
    found: Iterable[Pair], scores: Sequence[Score | ValueScore], findings: Iterable[Finding]
) -> dict[str, Any]:
    """What became of each case: the counts, and the ids of those that were not plainly scored.

    Args:
        found: all pairs, also those that were left out.
        scores: the rows of those that were not.
        findings: why cases were refused.
    """
    known = {s.case_id for s in scores}
    missing = sorted({s.case_id for s in scores if s.status == "missing"})
    refused: dict[str, list[str]] = {}
    for problem in findings:
        refused.setdefault(problem.case, []).append(problem.code)
    return {
        "cases": {
            "n": len(known),
            "n_scored": len(known) - len(missing) - len(refused),
            "missing": missing,
            "refused": refused,
            "left_out": [pair.case_id for pair in found if pair.case_id not in known],
        }
    }


def _write(out: Path, evaluation: Evaluation) -> None:
    table, summary = to_csv(evaluation.scores), to_json(evaluation.summary)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "metrics.csv", table)
    write_text(out / "summary.json", summary)
