"""Plots of the docs: bars of seconds, small SVG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

Rows = dict[str, dict[str, Any]]
PARTS = (
    ("network", ("network",), "#3b6ea5"),
    ("blend, return", ("stitch", "return", "label"), "#e08e45"),
    ("prepare", ("judge", "prepare"), "#7fb069"),
    ("read, write", ("read", "write"), "#8d6a9f"),
)


def plot_ct(rows: Rows, names: dict[str, str], out: Path) -> None:
    """Bars of seconds from file to file, by step."""
    measured = {name: row for name, row in rows.items() if "steps_s" in row}
    figure, axes = plt.subplots(figsize=(7.2, 0.5 + 0.42 * len(measured)), layout="constrained")
    labels = [names[name] for name in measured]
    left = [0.0] * len(measured)
    for part, steps, colour in PARTS:
        widths = [sum(row["steps_s"].get(s, 0.0) for s in steps) for row in measured.values()]
        axes.barh(labels, widths, left=left, color=colour, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    rest = [max(row["seconds"] - at, 0) for row, at in zip(measured.values(), left, strict=True)]
    axes.barh(labels, rest, left=left, color="#b8b8b8", label="rest")
    for n, row in enumerate(measured.values()):
        axes.text(row["seconds"], n, f" {row['seconds']:.0f} s", va="center", fontsize=8)
    axes.margins(x=0.1)
    finish(figure, axes, out)


def plot_stitch(rows: Rows, names: dict[str, str], out: Path) -> None:
    """Bars of a run's seconds: stitching, and the network alone."""
    measured = {name: row for name, row in rows.items() if "stitching_s" in row}
    figure, axes = plt.subplots(figsize=(7.2, 0.5 + 0.42 * len(measured)), layout="constrained")
    labels = [names[name] for name in measured]
    alone = [row["network_alone_s"] for row in measured.values()]
    stitching = [row["stitching_s"] for row in measured.values()]
    axes.barh(labels, alone, color=PARTS[0][2], label="the network alone")
    axes.barh(labels, stitching, left=alone, color=PARTS[1][2], label="stitching")
    finish(figure, axes, out)


def finish(figure: Any, axes: Any, out: Path) -> None:
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False)
    mpl.rcParams["svg.hashsalt"] = out.name  # the same figures give the same file
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)
