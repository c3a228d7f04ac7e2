"""How long a run may take, in time or in steps, and how far along it is.

A budget in time counts training steps and their validation, from the first step on. The schedule
follows `Clock.progress`, so a run that goes slower than expected still ends with its learning rate
decayed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from volunet.errors import ConfigError

UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0}
FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds or steps; one of the two is None."""

    seconds: float | None = None
    steps: int | None = None

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.seconds:.0f} s"


def read_budget(text: str) -> Budget:
    """A budget as people write it.

    >>> read_budget("1h30m")
    Budget(seconds=5400.0, steps=None)
    >>> read_budget("5000steps")
    Budget(seconds=None, steps=5000)

    Raises:
        ConfigError: the text is neither a time nor a number of steps, or is not above 0.
    """
    text = text.strip().replace(" ", "")
    if steps := re.fullmatch(r"(\d+)steps?", text):
        budget = Budget(steps=int(steps[1]))
    elif (parts := FORM.fullmatch(text)) and any(parts.groups()):
        pairs = zip(parts.groups(), UNITS_S.values(), strict=True)
        budget = Budget(seconds=sum(float(n) * unit for n, unit in pairs if n))
    else:
        raise ConfigError(
            f"A budget is a time such as 20m, 90s or 1h30m, or 5000steps, got {text!r}."
        )
    if not (budget.seconds or budget.steps):
        raise ConfigError(f"A budget must be above 0, got {text!r}.")
    return budget


class Clock:
    """How far a run is along its budget; it can be stopped and started again.

    Args:
        budget: what the run may take.
        step: steps taken by earlier sittings of the same run.
        spent_s: seconds spent by them.
        now: the time in seconds, from any origin.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        step: int = 0,
        spent_s: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget, self.step, self.reserved_s = budget, step, 0.0
        self._now, self._spent_s, self._started = now, spent_s, now()

    @property
    def spent_s(self) -> float:
        """Seconds of all sittings, since the first step of each."""
        return self._spent_s + self._now() - self._started

    @property
    def progress(self) -> float:
        """From 0 at the first step to 1 where steps end, `reserved_s` before the budget."""
        if self.budget.steps is not None:
            return min(self.step / self.budget.steps, 1.0)
        assert self.budget.seconds is not None
        return min(self.spent_s / max(self.budget.seconds - self.reserved_s, 1e-9), 1.0)

    def begin(self) -> None:
        """Counts the time of this sitting from now on; what came before is no part of it."""
        self._started = self._now()

    def tick(self) -> None:
        """Counts one step."""
        self.step += 1

    def reserve(self, seconds: float) -> None:
        """Keeps this much of a budget in time for what follows the last step."""
        if self.budget.seconds is not None:
            self.reserved_s = min(seconds, self.budget.seconds / 2)
