"""When training and validation part: the loss goes on falling, and held-out scores fall too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from volunet.training.measure import DICE, Measure
from volunet.training.validate import mean_score

Scored = Mapping[int, Sequence[float]]
"""The scores of each structure or target, by the place of a case among those held out."""
DRIFT = "Held-out cases got worse"
REACH = 0.1
"""Part of the steps so far that a mean loss is taken over."""


def find_drift(
    rows: Sequence[Mapping[str, str]],
    validations: Mapping[int, Scored],
    *,
    of: int,
    measure: Measure = DICE,
) -> str | None:
    """What is wrong with the newest validation of a run, in a sentence; None where nothing is.

    Compared are the cases that all validations scored: others may be easier.

    Args:
        rows: of the history, oldest first.
        validations: by the steps that were taken before, oldest first.
        of: how many cases are held out.
    """
    if not validations:
        return None
    same = sorted(set.intersection(*({*scored} for scored in validations.values())))
    means = {step: _mean([some[case] for case in same]) for step, some in validations.items()}
    known = {step: mean for step, mean in means.items() if not np.isnan(mean)}
    step = [*validations][-1]
    if len(known) < 2 or step not in known:
        return None
    score, best_step = known[step], max(known, key=lambda step: known[step])
    best = known[best_step]
    then, now = _loss_before(rows, best_step), _loss_before(rows, step)
    if best - score <= measure.fall or not now < then:
        return None
    part = f" of the {len(same)} of {of} that all validations came to" * (len(same) < of)
    return (
        f"{DRIFT}: {measure.said}{part} went from {best:.3f} at step {best_step} to {score:.3f} at "
        f"step {step} while the loss fell from {then:.3f} to {now:.3f}. The network may be "
        "learning the training cases by heart: stop earlier, add cases, or change patches more "
        "(training.augmentation)."
    )


def _mean(rows: Sequence[Sequence[float]]) -> float:
    """As a validation's: the mean over structures of that over cases; NaN for no case."""
    names = [str(place) for place in range(len(rows[0]) if rows else 0)]
    return mean_score(rows, names).mean


def _loss_before(rows: Sequence[Mapping[str, str]], step: int) -> float:
    """The mean loss of the steps up to one; NaN where none was written."""
    losses = [
        float(row["loss"])
        for row in rows
        if row["loss"] and (1 - REACH) * step <= int(row["step"]) <= step
    ]
    return float(np.mean(losses)) if losses else float("nan")
