"""Two evaluations of the same cases, compared pair by pair.

Differences are paired over cases: what makes a case hard for both sides cancels, so far fewer
cases tell two methods apart than their means would need. Intervals are those of `interval`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from volunet.errors import ConfigError
from volunet.evaluation.interval import Mean, mean_interval
from volunet.evaluation.summary import MEASURES

LARGER_IS_BETTER = {"dice": True, "iou": True, "nsd": True, "hd95_mm": False, "assd_mm": False}
KEYS = ("case_id", "label")
TOLD = 5
"""Names of cases that a message lists, at most."""

Table = dict[tuple[str, str], dict[str, float]]
"""Measures by case and structure; NaN where there was nothing to score."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the first side is than the second at one measure of one structure.

    Args:
        label: the structure, or "mean" for the mean over a case's structures.
        first: mean of the first side over the paired cases.
        second: mean of the second.
        gain: of first - second over cases, with its 95 % interval; positive is better, also for
            distances, whose differences are taken the other way round.
        wins: cases where the first side is better.
        losses: cases where the second is.
    """

    label: str
    measure: str
    first: float
    second: float
    gain: Mean
    wins: int
    losses: int


def read_metrics(folder: Path) -> Table:
    """The scores in a folder that was evaluated, or in a run's own validation.

    Args:
        folder: holds `metrics.csv`, or a `validation/` that does; or the file itself.

    Raises:
        ConfigError: there is none, or it is none of `volunet evaluate`'s.
    """
    places = (folder, folder / "metrics.csv", folder / "validation" / "metrics.csv")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(
            f"There is no metrics.csv in {folder}. Give a folder that `volunet evaluate -o` wrote, "
            "or a run of `volunet train`."
        )
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {*KEYS, *MEASURES} <= set(rows[0]):
        raise ConfigError(f"{path} holds no scores as `volunet evaluate` writes them.")
    return {
        (row["case_id"], row["label"]): {m: float(row[m]) if row[m] else nan for m in MEASURES}
        for row in rows
    }


def compare_tables(first: Table, second: Table, *, seed: int = 0) -> list[Difference]:
    """Differences by structure and measure, and of the mean over structures.

    A structure of a case enters where both sides have a score of it.

    Raises:
        ConfigError: the two have other cases or structures, or none in common to compare.
    """
    if first.keys() != second.keys():
        alone = sorted({case for case, _ in first.keys() ^ second.keys()})
        raise ConfigError(
            f"Both sides must tell of the same cases and structures; they differ in {len(alone)} "
            f"cases: {', '.join(alone[:TOLD])}. Evaluate the same cases on both sides, with the "
            "same labels."
        )
    names = list(dict.fromkeys(label for _, label in first))
    cases = list(dict.fromkeys(case for case, _ in first))
    found = []
    for measure in MEASURES:
        a, b = (_values(table, cases, names, measure) for table in (first, second))
        both = ~(np.isnan(a) | np.isnan(b))
        a, b = np.where(both, a, nan), np.where(both, b, nan)
        for place, name in enumerate(names):
            found.append(_difference(name, measure, a[:, place], b[:, place], seed))
        if len(names) > 1:
            found.append(_difference("mean", measure, _means(a), _means(b), seed))
    return found


def to_csv(differences: Sequence[Difference]) -> str:
    """The differences as the text of `comparison.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("label", "measure", "n", "first", "second", "gain", "low", "high", "wins", "losses")
    )
    for d in differences:
        numbers = (d.first, d.second, d.gain.mean, d.gain.low, d.gain.high)
        told = ["" if isnan(number) else f"{number:.6g}" for number in numbers]
        writer.writerow([d.label, d.measure, d.gain.n, *told, d.wins, d.losses])
    return text.getvalue()


def _values(
    table: Mapping[tuple[str, str], Mapping[str, float]],
    cases: Sequence[str],
    names: Sequence[str],
    measure: str,
) -> NDArray[np.float64]:
    nothing = dict.fromkeys(MEASURES, nan)
    return np.array([[table.get((c, n), nothing)[measure] for n in names] for c in cases])


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each case's mean over the structures that are known; NaN where none is."""
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0).sum(axis=1), known.sum(axis=1)
    means: NDArray[np.float64] = np.full(len(values), nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _difference(
    name: str, measure: str, a: NDArray[np.float64], b: NDArray[np.float64], seed: int
) -> Difference:
    better = a - b if LARGER_IS_BETTER[measure] else b - a
    known = ~np.isnan(better)
    return Difference(
        label=name,
        measure=measure,
        first=float(a[known].mean()) if known.any() else nan,
        second=float(b[known].mean()) if known.any() else nan,
        gain=mean_interval(better, np.random.default_rng(seed)),
        wins=int((better > 0).sum()),
        losses=int((better < 0).sum()),
    )
