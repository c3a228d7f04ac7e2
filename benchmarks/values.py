"""Predicted values beside others' on the same cases: their scores by the command, and pictures."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.measured import processor, versions
from benchmarks.settings import VOLUNET
from volunet.evaluation.interval import paired_difference

MEASURES = {"psnr_db": 2, "ssim": 4}
"""And the digits that are kept of each."""
OURS = "volunet"
KINDS = ("images", "targets")
PANEL_IN, DPI = 2.4, 100

Scores = dict[str, dict[str, float]]
"""Case id to measure to value."""


def volunet(*words: object) -> None:
    """Runs the command."""
    subprocess.run([VOLUNET, *map(str, words)], check=True)


def score(predictions: Path, references: Path, out: Path) -> Scores:
    """Scores of a folder of predicted values, by the command."""
    volunet("evaluate", "-p", predictions, "-r", references, "-o", out, "--values", "-q")
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["case_id"]: {m: float(row[m]) for m in MEASURES} for row in rows}


def set_aside(dataset: Path, names: Iterable[str], out: Path) -> None:
    """Copies these files of a dataset, image and target, to a dataset of their own."""
    names = tuple(names)
    for kind in KINDS:
        (out / kind).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(dataset / kind / name, out / kind / name)
    shutil.copyfile(dataset / "labels.json", out / "labels.json")


def beside(found: Mapping[str, Scores]) -> dict[str, Any]:
    """Means of each method, and how much better ours is: the paired difference, 95 % interval.

    Args:
        found: by the method's name; ours is called `OURS`, and all have the same cases.
    """
    means, gains = {}, {}
    for name, scores in found.items():
        means[name] = {m: mean(scores, m) for m in MEASURES}
        if name != OURS:
            gains[name] = {m: gain(found[OURS], scores, m) for m in MEASURES}
    cases = {case: {name: kept(found[name][case]) for name in found} for case in found[OURS]}
    return {"means": means, "gain": gains, "cases": cases}


def kept(scores: Mapping[str, float]) -> dict[str, float]:
    return {m: round(scores[m], digits) for m, digits in MEASURES.items()}


def mean(scores: Scores, measure: str) -> float:
    return round(float(np.mean([row[measure] for row in scores.values()])), MEASURES[measure])


def gain(ours: Scores, theirs: Scores, measure: str) -> list[float]:
    """Mean, low and high end."""
    mine, other = ({case: row[measure] for case, row in s.items()} for s in (ours, theirs))
    found = paired_difference(mine, other, np.random.default_rng(0))
    return [round(x, MEASURES[measure]) for x in (found.mean, found.low, found.high)]


def facts_of(run: Path, packages: Iterable[str]) -> dict[str, Any]:
    """Date, machine and versions, and what a training run says of itself.

    Args:
        packages: that matter beside those that always do.
    """
    told = json.loads((run / "run.json").read_text())
    facts = {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
    facts |= {"cores": len(os.sched_getaffinity(0))}
    facts |= {"versions": versions() | {name: version(name) for name in packages}}
    wanted = ("steps", "budget_spent_s", "step_s", "threads")
    return facts | {"run": {name: told[name] for name in wanted}}


def table(facts: Mapping[str, Any]) -> str:
    """The rows for the documentation."""
    lines = ["| | PSNR (dB) | SSIM | volunet's gain, PSNR (dB) | SSIM |", "|---|---|---|---|---|"]
    for name, row in facts["means"].items():
        gains = facts["gain"].get(name, {})
        cells = [f"{row[m]:.{digits}f}" for m, digits in MEASURES.items()]
        for m, digits in MEASURES.items():
            told = "{:+.{d}f} ({:.{d}f} to {:.{d}f})"
            cells.append(told.format(*gains[m], d=digits) if m in gains else "")
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def middle_case(scores: Scores) -> str:
    """The case with the median PSNR: one that is neither good nor bad is shown."""
    ordered = sorted(scores, key=lambda case: scores[case]["psnr_db"])
    return ordered[len(ordered) // 2]


@dataclass(frozen=True)
class Panel:
    """One picture to draw.

    Args:
        pixels: (rows, columns) as they are looked at.
        window: the values of the lowest and the highest colour.
    """

    title: str
    pixels: NDArray[Any]
    window: tuple[float, float]
    colours: str = "gray"


def draw(rows: Sequence[Sequence[Panel]], path: Path) -> None:
    """Draws rows of equally many panels as a PNG, pixel by pixel."""
    from matplotlib.figure import Figure

    size = (PANEL_IN * len(rows[0]), (PANEL_IN + 0.25) * len(rows))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for ax, panel in zip(axes.flat, (panel for row in rows for panel in row), strict=True):
        low, high = panel.window
        ax.imshow(panel.pixels, cmap=panel.colours, vmin=low, vmax=high, interpolation="nearest")
        ax.set_title(panel.title, fontsize=9)
        ax.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
