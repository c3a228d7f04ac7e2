"""What any tracker of a run can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

Parameter = str | int | float | bool
End = Literal["FINISHED", "KILLED", "FAILED"]


class Tracker(Protocol):
    """One that follows a run."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve that is named."""

    def close(self, end: End) -> None:
        """Keeps what was written, and how the run ended."""
