"""Means, medians and intervals over cases, and the two files that keep an evaluation.

`metrics.csv` has one row a case and structure, UTF-8, "." as decimal point, an empty cell where
there is nothing to score. `summary.json` states its own rules; a number that is not known is null.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from volunet.evaluation.interval import CONFIDENCE, RESAMPLES, Mean, mean_interval
from volunet.evaluation.score import Score
from volunet.space.labels import Labels

MEASURES = ("dice", "iou", "hd95_mm", "nsd", "assd_mm")
COLUMNS = tuple(field.name for field in fields(Score))

RULES = {
    "both_empty": "A structure in neither mask has no score; it is counted and enters no mean.",
    "one_empty": "A structure in one mask only scores Dice, IoU and NSD 0; "
    "its distances are the image's diagonal.",
    "missing": "A reference without a prediction is scored as if the prediction were empty, "
    "unless it was left out on request.",
    "refused": "A case with a file that could not be used is counted and enters no mean.",
    "undrawn": "A structure that was not drawn in a case is counted and enters no mean.",
    "interval": "Percentile bootstrap over cases, all labels of a case drawn together; "
    "a label that is in none of those drawn keeps its mean over all cases.",
    "mean_over_labels": "Mean over those in `averaged` of their means over cases: regions where "
    "each leaves one value to itself and none is left, as a network learns them, else the labels.",
}


def summarise(scores: Sequence[Score], labels: Labels, *, seed: int = 0) -> dict[str, Any]:
    """Each structure's means over cases with 95 % intervals, and the mean over labels.

    Args:
        scores: the rows of all cases.
        labels: their structures.
        seed: of the bootstrap.

    Returns:
        What `summary.json` holds beside the list of cases; numbers that are not known are None.
    """
    rows = {
        name: [s for s in scores if s.label == name] for name in (*labels.names, *labels.unions)
    }
    return {
        "rules": RULES,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "seed": seed,
        "averaged": list(labels.averaged),
        "mean_over_labels": _over_labels([rows[name] for name in labels.averaged], seed),
        "labels": {name: _of_structure(rows[name], seed) for name in labels.names},
        "regions": {name: _of_structure(rows[name], seed) for name in labels.unions},
    }


def to_csv(scores: Iterable[Score]) -> str:
    """The rows as the text of `metrics.csv`."""
    return csv_of(COLUMNS, scores)


def csv_of(columns: Sequence[str], rows: Iterable[object]) -> str:
    """A table of what rows say under the names of columns; an empty cell for NaN."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(getattr(row, column)) for column in columns])
    return text.getvalue()


def to_json(summary: Mapping[str, Any]) -> str:
    """The summary as the text of `summary.json`."""
    return json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def means_of(summary: Mapping[str, Any], measure: str) -> dict[str, float | None]:
    """Each structure's, region's or target's mean over cases, as a summary has it, by name."""
    kinds = ("labels", "regions", "targets")
    rows = {name: row for kind in kinds for name, row in summary.get(kind, {}).items()}
    return {name: row[measure]["mean"] for name, row in rows.items()}


def case_means(scores: Iterable[Score], measure: str = "dice") -> dict[str, float]:
    """Each case's mean over the labels it has a score for; NaN for a case without any."""
    values: dict[str, list[float]] = {}
    for score in scores:
        values.setdefault(score.case_id, []).append(getattr(score, measure))
    return {case: _mean_of_known(found) for case, found in values.items()}


def _of_structure(scores: Sequence[Score], seed: int) -> dict[str, Any]:
    counts = {
        "n_both_empty": sum(s.both_empty for s in scores),
        "n_missing": sum(s.status == "missing" for s in scores),
        "n_refused": sum(s.status == "refused" for s in scores),
        "n_undrawn": sum(s.status == "undrawn" for s in scores),
    }
    return counts | {
        measure: plain(
            mean_interval([getattr(s, measure) for s in scores], np.random.default_rng(seed))
        )
        for measure in MEASURES
    }


def _over_labels(scores: Sequence[Sequence[Score]], seed: int) -> dict[str, Any]:
    """Every label has a row for every case, in the same order."""
    return {
        measure: plain(
            mean_interval(
                np.array([[getattr(s, measure) for s in of_label] for of_label in scores]).T,
                np.random.default_rng(seed),
            )
        )
        for measure in MEASURES
    }


def plain(mean: Mean) -> dict[str, Any]:
    """A mean as JSON; numbers that are not known are None."""
    return {
        "n": mean.n,
        "mean": _known(mean.mean),
        "interval": [_known(mean.low), _known(mean.high)],
        "median": _known(mean.median),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return str(value)


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else float("nan")
