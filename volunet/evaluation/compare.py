"""Two evaluations of the same cases, compared pair by pair.

Differences are paired over cases: what makes a case hard for both sides cancels, so far fewer
cases tell two methods apart than their means would need. Intervals are those of `interval`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from volunet.config import read_values
from volunet.errors import ConfigError
from volunet.evaluation.interval import Mean, mean_interval
from volunet.evaluation.summary import MEASURES
from volunet.evaluation.value_summary import VALUE_MEASURES

LARGER_IS_BETTER = {"dice": True, "iou": True, "nsd": True, "hd95_mm": False, "assd_mm": False}
LARGER_IS_BETTER |= {"mae": False, "rmse": False, "psnr_db": True, "ssim": True}
MEASURES_OF = {"label": MEASURES, "target": VALUE_MEASURES}
"""What is measured of each kind of row: a structure of masks, or a target of a regression."""

TOLD = 5
"""Names of cases that a message lists, at most."""

TOLERANCE = "nsd_tolerance_mm"


@dataclass(frozen=True)
class Metrics:
    """What an evaluation found.

    Args:
        rows: measures by case and structure; NaN where there was nothing to score.
        apart: names of rows that enter no mean over the others.
        tolerance_mm: of NSD; NaN where it is not told.
        kind: "label" where masks were scored, "target" where values were.
    """

    rows: dict[tuple[str, str], dict[str, float]]
    apart: frozenset[str] = frozenset()
    tolerance_mm: float = nan
    kind: Literal["label", "target"] = "label"

    @property
    def measures(self) -> tuple[str, ...]:
        """What each row tells."""
        return MEASURES_OF[self.kind]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the first side is than the second at one measure of one structure or target.

    Args:
        label: the structure or target, or "mean" for the mean over a case's structures.
        first: mean of the first side over the paired cases.
        second: mean of the second.
        gain: of first - second over cases, with its 95 % interval; positive is better, also for
            distances and errors, whose differences are taken the other way round. A case with an
            infinite PSNR enters no mean here, and counts as won or lost.
        wins: cases where the first side is better.
        losses: cases where the second is.
        first_only: cases that only the first side has a score of, which enter no mean here: the
            second left both masks empty where the first found something, or the other way round.
        second_only: the same of the second.
    """

    label: str
    measure: str
    first: float
    second: float
    gain: Mean
    wins: int
    losses: int
    first_only: int = 0
    second_only: int = 0


def read_metrics(folder: Path) -> Metrics:
    """The scores in a folder that was evaluated, or in a run's own validation.

    Args:
        folder: holds `metrics.csv`, and `summary.json` where there are regions; or a `validation/`
            that does; or the CSV itself.

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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        kind: Literal["label", "target"] = "target" if rows and "target" in rows[0] else "label"
        scores = {
            (row["case_id"], row[kind]): {m: _number(row[m]) for m in MEASURES_OF[kind]}
            for row in rows
        }
        tolerances = {nan if kind == "target" else _number(row[TOLERANCE]) for row in rows}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"{path} holds no scores as `volunet evaluate` writes them: {error}."
        ) from None
    if not scores:
        raise ConfigError(f"{path} holds no scores.")
    summary = path.with_name("summary.json")
    told = read_values(summary) if summary.is_file() else {}
    return Metrics(scores, _apart(told, scores), min(tolerances), kind)


def compare_metrics(first: Metrics, second: Metrics, *, seed: int = 0) -> list[Difference]:
    """Differences by structure and measure, and of the mean over what is averaged.

    A structure of a case enters where both sides have a score of it. There is no mean over targets,
    which may have different units.

    Raises:
        ConfigError: one side is of masks and the other of values, the two have other cases or
            structures, or NSD at another tolerance.
    """
    _refuse_unlike(first, second)
    names = list(dict.fromkeys(label for _, label in first.rows))
    cases = list(dict.fromkeys(case for case, _ in first.rows))
    alone = [name not in first.apart and first.kind == "label" for name in names]
    found = []
    for measure in first.measures:
        a, b = (_values(table, cases, names, measure) for table in (first, second))
        for place, name in enumerate(names):
            found.append(_difference(name, measure, a[:, place], b[:, place], seed))
        if sum(alone) > 1:
            both = np.where(np.isnan(a) | np.isnan(b), nan, 0.0)[:, alone]
            one, other = (_means(side[:, alone] + both) for side in (a, b))
            mean = _difference("mean", measure, one, other, seed)
            has, had = (~np.isnan(side[:, alone]).all(axis=1) for side in (a, b))
            first_only, second_only = int((has & ~had).sum()), int((had & ~has).sum())
            found.append(replace(mean, first_only=first_only, second_only=second_only))
    return found


def _apart(summary: Mapping[str, Any], scores: Collection[tuple[str, str]]) -> frozenset[str]:
    """The rows that enter no mean, as a summary says: structures, where regions are averaged."""
    if "averaged" not in summary:
        return frozenset(summary.get("regions", {}))
    return frozenset(name for _, name in scores) - {*summary["averaged"]}


def _refuse_unlike(first: Metrics, second: Metrics) -> None:
    if first.kind != second.kind:
        sides = ["masks" if side.kind == "label" else "values" for side in (first, second)]
        raise ConfigError(
            f"The first side holds scores of {sides[0]}, the second of {sides[1]}. Give two "
            "evaluations of one kind: both with `volunet evaluate --values`, or both without."
        )
    named = [{name for _, name in side.rows} for side in (first, second)]
    if named[0] != named[1]:
        raise ConfigError(
            f"Both sides must tell of the same {first.kind}s; the first has {sorted(named[0])}, "
            f"the second {sorted(named[1])}. Evaluate both with the same labels.json."
        )
    if first.rows.keys() != second.rows.keys():
        alone = sorted({case for case, _ in first.rows.keys() ^ second.rows.keys()})
        raise ConfigError(
            f"Both sides must tell of the same cases and {first.kind}s; they differ in "
            f"{len(alone)} cases: {', '.join(alone[:TOLD])}. Evaluate the same cases on both "
            "sides."
        )
    if first.apart != second.apart:
        raise ConfigError(
            f"Means of the first side leave out {sorted(first.apart)}, and of the second "
            f"{sorted(second.apart)}: one was evaluated by an earlier version. Evaluate both again."
        )
    if first.tolerance_mm != second.tolerance_mm and not (
        isnan(first.tolerance_mm) and isnan(second.tolerance_mm)
    ):
        raise ConfigError(
            f"NSD was taken at {first.tolerance_mm:g} mm on one side and {second.tolerance_mm:g} "
            "mm on the other. Evaluate both with the same --tolerance-mm."
        )


def _number(cell: str) -> float:
    return float(cell) if cell else nan


def to_csv(differences: Sequence[Difference]) -> str:
    """The differences as the text of `comparison.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            *("label", "measure", "n", "first", "second", "gain", "low", "high"),
            *("wins", "losses", "first_only", "second_only"),
        )
    )
    for d in differences:
        numbers = (d.first, d.second, d.gain.mean, d.gain.low, d.gain.high)
        told = ["" if isnan(number) else f"{number:.6g}" for number in numbers]
        counts = (d.wins, d.losses, d.first_only, d.second_only)
        writer.writerow([d.label, d.measure, d.gain.n, *told, *counts])
    return text.getvalue()


def _values(
    table: Metrics, cases: Sequence[str], names: Sequence[str], measure: str
) -> NDArray[np.float64]:
    nothing = dict.fromkeys(table.measures, nan)
    return np.array([[table.rows.get((c, n), nothing)[measure] for n in names] for c in cases])


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
    with np.errstate(invalid="ignore"):  # two infinite PSNRs
        better = a - b if LARGER_IS_BETTER[measure] else b - a
    known = np.isfinite(better)
    return Difference(
        label=name,
        measure=measure,
        first=float(a[known].mean()) if known.any() else nan,
        second=float(b[known].mean()) if known.any() else nan,
        gain=mean_interval(np.where(known, better, nan), np.random.default_rng(seed)),
        wins=int((better > 0).sum()),
        losses=int((better < 0).sum()),
        first_only=int((~np.isnan(a) & np.isnan(b)).sum()),
        second_only=int((np.isnan(a) & ~np.isnan(b)).sum()),
    )
