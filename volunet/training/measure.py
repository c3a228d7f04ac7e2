"""What whole held-out cases are scored by while a network trains; more is better."""

from __future__ import annotations

from dataclasses import dataclass

from volunet.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Measure:
    """A score of whole cases.

    Args:
        column: of the history.
        said: its name, with its unit.
        fall: below the best that is no noise.
    """

    column: str
    said: str
    fall: float


DICE = Measure("val_dice", "Dice", 0.02)
PSNR = Measure("val_psnr_db", "PSNR (dB)", 0.5)
"""Of estimated images: 20 log10(range of the target / root mean squared error)."""
MEASURES = (DICE, PSNR)


def measure_of(plan: Plan) -> Measure:
    """What cases are scored by."""
    return DICE if plan.targets is None else PSNR


def names_of(plan: Plan) -> tuple[str, ...]:
    """What has a score: structures, or regions where they can be learnt; or targets."""
    return plan.labels.averaged if plan.targets is None else plan.targets.names
