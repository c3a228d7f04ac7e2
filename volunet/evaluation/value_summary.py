"""Means and intervals of scores of values over cases, and the two files that keep them.

`metrics.csv` and `summary.json` are as those of masks in `evaluation.summary`; there is one row a
case and target, and the summary says `"task": "values"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from math import isinf, nan
from typing import Any

import numpy as np

from volunet.evaluation.interval import CONFIDENCE, RESAMPLES, mean_interval
from volunet.evaluation.ssim import K1, K2, SIGMA_VOX, WIDTH_VOX
from volunet.evaluation.summary import csv_of, plain
from volunet.evaluation.values import ValueScore

VALUE_MEASURES = ("mae", "rmse", "psnr_db", "ssim")
VALUE_COLUMNS = tuple(field.name for field in fields(ValueScore))
TASK = "values"

VALUE_RULES = {
    "unit": "mae and rmse are in the unit of the reference's values.",
    "value_range": "PSNR and SSIM are taken at the range of the reference of each case and target: "
    "its largest less its smallest value.",
    "ssim": f"After Wang et al. 2004: a Gaussian window of sigma {SIGMA_VOX} and {WIDTH_VOX} "
    f"voxels, K1 {K1}, K2 {K2}, the mean over all places where it lies inside; along a shorter "
    "axis the largest odd width that fits, so that a picture is scored in its plane.",
    "equal": "A prediction that equals its reference has a PSNR of inf in metrics.csv; it is "
    "counted and enters no mean of PSNR.",
    "constant": "A reference of one value has no range: it is counted, and has no PSNR and SSIM.",
    "missing": "A reference without a prediction is counted and enters no mean, as nothing can "
    "stand for its values.",
    "refused": "A case with a file that could not be used is counted and enters no mean.",
    "interval": "Percentile bootstrap over cases.",
    "targets": "Targets may have different units, so there is no mean over them.",
}


def summarise_values(
    scores: Sequence[ValueScore], targets: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """Each target's means over cases with 95 % intervals.

    Args:
        scores: the rows of all cases.
        targets: names of what was predicted.
        seed: of the bootstrap.

    Returns:
        What `summary.json` holds beside the list of cases; numbers that are not known are None.
    """
    rows = {name: [s for s in scores if s.target == name] for name in targets}
    return {
        "task": TASK,
        "rules": VALUE_RULES,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "seed": seed,
        "targets": {name: _of_target(of_name, seed) for name, of_name in rows.items()},
    }


def values_to_csv(scores: Iterable[ValueScore]) -> str:
    """The rows as the text of `metrics.csv`."""
    return csv_of(VALUE_COLUMNS, scores)


def _of_target(scores: Sequence[ValueScore], seed: int) -> dict[str, Any]:
    counts = {
        "n_equal": sum(isinf(s.psnr_db) for s in scores),
        "n_constant": sum(s.value_range == 0 for s in scores),
        "n_missing": sum(s.status == "missing" for s in scores),
        "n_refused": sum(s.status == "refused" for s in scores),
    }
    return counts | {measure: _mean(scores, measure, seed) for measure in VALUE_MEASURES}


def _mean(scores: Sequence[ValueScore], measure: str, seed: int) -> dict[str, Any]:
    values = [getattr(s, measure) for s in scores]
    finite = [nan if isinf(value) else value for value in values]
    return plain(mean_interval(finite, np.random.default_rng(seed)))
