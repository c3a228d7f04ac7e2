"""The table of what an evaluation of predicted values found, for people."""

from __future__ import annotations

from typing import Any

from volunet.cli.speaker import Speaker

COLUMNS = {"mae": "MAE", "rmse": "RMSE", "psnr_db": "PSNR (dB)", "ssim": "SSIM"}


def tell_values(speaker: Speaker, title: str, summary: dict[str, Any]) -> None:
    """A table of mean scores by target, from the summary of an evaluation of values."""
    rows = [
        (name, *(_cell(row[measure], interval=measure == "mae") for measure in COLUMNS))
        for name, row in summary["targets"].items()
    ]
    speaker.table(title, ("target", *COLUMNS.values()), rows, numbers=True)


def _cell(mean: dict[str, Any], *, interval: bool) -> str:
    if mean["mean"] is None:
        return "-"
    told = f"{mean['mean']:.4g}"
    if not interval or None in mean["interval"]:
        return told
    low, high = mean["interval"]
    return f"{told} ({low:.3g}-{high:.3g})"
