"""When training and validation part: the loss goes on falling, and held-out Dice falls too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

DRIFT = "Validation Dice fell"
FALL = 0.02
"""Of the mean Dice below its best that is no noise."""
REACH = 0.1
"""Part of the steps so far that a mean loss is taken over."""


def find_drift(rows: Sequence[Mapping[str, str]]) -> str | None:
    """What is wrong with the newest validation of a history, in a sentence; None where nothing is.

    Args:
        rows: of the history, oldest first.
    """
    scored = [
        (int(r["step"]), float(r["val_dice"])) for r in rows if r["val_dice"] not in ("", "nan")
    ]
    if len(scored) < 2:
        return None
    step, dice = scored[-1]
    best_step, best = max(scored, key=lambda row: row[1])
    then, now = _loss_before(rows, best_step), _loss_before(rows, step)
    if best - dice <= FALL or not now < then:
        return None
    return (
        f"{DRIFT} from {best:.3f} at step {best_step} to {dice:.3f} at step {step} while the loss "
        f"fell from {then:.3f} to {now:.3f}: the network may be learning the training cases by "
        "heart. Stop earlier, add cases, or change patches more (training.augmentation)."
    )


def _loss_before(rows: Sequence[Mapping[str, str]], step: int) -> float:
    """The mean loss of the steps up to one; NaN where none was written."""
    losses = [
        float(row["loss"])
        for row in rows
        if row["loss"] and (1 - REACH) * step <= int(row["step"]) <= step
    ]
    return float(np.mean(losses)) if losses else float("nan")
