"""How sure a mean is: percentile bootstrap over cases (Efron 1979).

Cases are drawn with replacement, all labels of a case together, as labels of one scan go wrong
together. A NaN is no measurement: it enters no mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volunet.errors import ConfigError

RESAMPLES = 5000
CONFIDENCE = 0.95
# Resamples at a time; bounds memory to a few megabytes for a thousand cases.
CHUNK = 250


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over cases and its 95 % interval; NaN without measurements.

    Args:
        n: how many cases have a measurement.
        low: lower end of the interval, NaN below two cases.
        high: upper end of the interval, NaN below two cases.
    """

    n: int
    mean: float
    low: float
    high: float
    median: float


def mean_interval(values: ArrayLike, rng: np.random.Generator) -> Mean:
    """The mean over cases and its 95 % bootstrap interval.

    Args:
        values: (N,) one a case, or (N, L) one a case and label. With labels the statistic is the
            mean over labels of their means over cases, and so is the median.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    known = ~np.isnan(table)
    n = int(known.any(axis=1).sum())
    if n == 0:
        return Mean(0, *[float("nan")] * 4)
    held = known.any(axis=0)
    medians = np.nanmedian(table[:, held], axis=0)
    middle = float(_mean_of_means(table, np.ones((1, len(table))))[0])
    low, high = float("nan"), float("nan")
    if n > 1:
        low, high = _bootstrap(table[known.any(axis=1)], rng)
    return Mean(n, middle, low, high, float(medians.mean()))


def paired_difference(
    a: Mapping[str, float], b: Mapping[str, float], rng: np.random.Generator
) -> Mean:
    """How much better `a` is than `b` on the same cases: mean of a - b and its 95 % interval.

    Args:
        a: case id to score.
        b: case id to score of another system on the same cases.

    Raises:
        ConfigError: the two do not have the same cases.
    """
    if a.keys() != b.keys():
        alone = sorted(a.keys() ^ b.keys())
        raise ConfigError(
            f"A paired comparison needs the same cases on both sides; {len(alone)} are on one "
            f"side only: {', '.join(alone[:5])}. Leave these out on purpose, or score them."
        )
    return mean_interval([a[case] - b[case] for case in a], rng)


def _bootstrap(table: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    cases = len(table)
    means = []
    for first in range(0, RESAMPLES, CHUNK):
        size = min(CHUNK, RESAMPLES - first)
        drawn = rng.multinomial(cases, np.full(cases, 1 / cases), size=size)
        means.append(_mean_of_means(table, drawn.astype(np.float64)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)


def _mean_of_means(table: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) from values (N, L) and how often each case counts (B, N): over cases, then labels.

    A label that none of the cases that count has keeps its mean over all of them; one that no case
    has is left out.
    """
    table = table[:, ~np.isnan(table).all(axis=0)]
    known = ~np.isnan(table)
    sums = weights @ np.where(known, table, 0)
    counts = weights @ known
    usual = np.broadcast_to(np.nanmean(table, axis=0), sums.shape).copy()
    return np.asarray(np.divide(sums, counts, out=usual, where=counts > 0).mean(axis=1))
