"""When training and validation part: the loss goes on falling, and held-out scores fall too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from volunet.training.measure import DICE, Measure

DRIFT = "Held-out cases got worse"
REACH = 0.1
"""Part of the steps so far that a mean loss is taken over."""


def find_drift(
    rows: Sequence[Mapping[str, str]],
    measure: Measure = DICE,
    *,
    whole: Collection[int] | None = None,
) -> str | None:
    """What is wrong with the newest validation of a history, in a sentence; None where nothing is.

    Args:
        rows: of the history, oldest first.
        measure: that held-out cases are scored by.
        whole: steps after which all of them were, None for every step; of some, which may be
            easier than the others, nothing follows.
    """
    told = [(int(row["step"]), row[measure.column]) for row in rows]
    known = [(step, score) for step, score in told if whole is None or step in whole]
    scored = [(step, float(score)) for step, score in known if score not in ("", "nan")]
    if len(scored) < 2:
        return None
    step, score = scored[-1]
    best_step, best = max(scored, key=lambda row: row[1])
    then, now = _loss_before(rows, best_step), _loss_before(rows, step)
    if best - score <= measure.fall or not now < then:
        return None
    return (
        f"{DRIFT}: {measure.said} went from {best:.3f} at step {best_step} to {score:.3f} at step "
        f"{step} while the loss fell from {then:.3f} to {now:.3f}. The network may be learning the "
        "training cases by heart: stop earlier, add cases, or change patches more "
        "(training.augmentation)."
    )


def _loss_before(rows: Sequence[Mapping[str, str]], step: int) -> float:
    """The mean loss of the steps up to one; NaN where none was written."""
    losses = [
        float(row["loss"])
        for row in rows
        if row["loss"] and (1 - REACH) * step <= int(row["step"]) <= step
    ]
    return float(np.mean(losses)) if losses else float("nan")
