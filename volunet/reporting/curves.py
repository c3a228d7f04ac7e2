"""The course of a training run: loss, learning rate and validation Dice over time."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volunet.errors import ConfigError
from volunet.reporting.canvas import new_figure, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("step", "seconds", "loss", "learning_rate")
SCORES = {"val_dice": "Dice", "val_psnr_db": "PSNR (dB)"}
"""Columns of held-out cases' scores, of which a history has one, and what they are called."""
BLUE, ORANGE, GREEN, INK, FAINT = "#0072b2", "#d55e00", "#009e73", "#303030", "#d8d8d8"
# The smooth line averages over this share of the run.
SMOOTH_SHARE = 0.05

History = dict[str, NDArray[np.float64]]


def draw_curves(history_csv: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Draw training loss, learning rate and the score of held-out cases over seconds.

    Args:
        history_csv: a run's `history.csv`; empty cells mean not measured.
        path: the PNG file; its folder must exist.

    Raises:
        ConfigError: the table cannot be read, lacks a column, or has no row.
        MissingExtra: matplotlib is not installed.
        WriteError: the file could not be written.
    """
    history, score = _read(Path(history_csv))
    figure = new_figure((9.0, 7.0), "#ffffff")
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.08)
    loss, rate, scores = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.4, 3])
    unit, scale = ("min", 60.0) if history["seconds"].max() >= 180 else ("s", 1.0)
    time = history["seconds"] / scale
    _draw_loss(loss, time, history)
    rate.plot(time, history["learning_rate"], color=ORANGE, linewidth=1.5)
    _draw_scores(scores, time, history[score])
    said = f"validation {SCORES[score]}"
    for ax, name in ((loss, "training loss"), (rate, "learning rate"), (scores, said)):
        _tidy(ax, name)
    scores.set_xlabel(f"time [{unit}]", color=INK)
    figure.align_ylabels()
    save_png(figure, path)


def _draw_loss(ax: Axes, time: NDArray[np.float64], history: History) -> None:
    loss = history["loss"]
    ax.plot(time, loss, color=BLUE, linewidth=0.6, alpha=0.35)
    known = np.isfinite(loss)
    ax.plot(time[known], _smooth(loss[known]), color=BLUE, linewidth=2)
    steps = int(history["step"].max())
    ax.set_title(f"{steps:,} steps", loc="right", color=INK, fontsize=9)


def _draw_scores(ax: Axes, time: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
    measured = np.isfinite(scores)
    if not measured.any():
        ax.text(0.5, 0.5, "not validated", transform=ax.transAxes, ha="center", color=INK)
        return
    time, scores = time[measured], scores[measured]
    ax.plot(time, scores, color=GREEN, linewidth=1.8, marker="o", markersize=4)
    best = int(scores.argmax())
    along = (time[best] - time[0]) / max(time[-1] - time[0], 1e-9)  # 0 at the first, 1 at the last
    ax.axhline(scores[best], color=GREEN, linewidth=0.8, linestyle=":")
    ax.annotate(
        f"best {scores[best]:.4f}",
        (time[best], scores[best]),
        xytext=(0, -16),
        textcoords="offset points",
        ha="left" if along < 0.1 else "right" if along > 0.9 else "center",  # within the axes
        color=GREEN,
        fontweight="bold",
        fontsize=9,
    )


def _tidy(ax: Axes, name: str) -> None:
    ax.set_ylabel(name, color=INK, fontsize=9)
    ax.grid(color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.margins(x=0.02)
    ax.tick_params(colors=INK, labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The running mean, over less at both ends."""
    reach = max(int(len(values) * SMOOTH_SHARE / 2), 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    first, last = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _read(path: Path) -> tuple[History, str]:
    """The columns of a history, and which of them holds scores."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}.") from error
    if not rows:
        raise ConfigError(f"{path.name} has no row yet. Draw it once training has made some steps.")
    score = next((name for name in SCORES if name in rows[0]), next(iter(SCORES)))
    columns = (*COLUMNS, score)
    if lacking := [name for name in columns if name not in rows[0]]:
        raise ConfigError(f"{path.name} lacks the columns {lacking}; it has {list(rows[0])}.")
    return {name: np.array([_number(row[name]) for row in rows]) for name in columns}, score


def _number(cell: Any) -> float:
    return float(cell) if cell else float("nan")
