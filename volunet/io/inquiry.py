"""What is found while one file is read: remarks are kept, refusals stop the reading."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from volunet.findings import Finding, Number, Refused, Severity, finding, refuse_if_needed

QUIET = np.errstate(all="ignore")
"""For whoever judges numbers that may be anything: their results are judged, not their making."""


class Inquiry:
    """The findings of one file, and the refusals its caller is willing to waive.

    Args:
        file: the file's name, without its folder.
        accept: codes whose refusals are waived where a way to go on exists.
    """

    def __init__(self, file: str, accept: Collection[str] = ()) -> None:
        self.file = file
        self.accept = frozenset(accept)
        self._found: list[Finding] = []

    def note(
        self,
        code: str,
        message: str,
        *,
        severity: Severity | None = None,
        advice: str | None = None,
        **numbers: Number,
    ) -> None:
        """Keep a finding; a refusal stops the reading at the next `settle`, unless accepted."""
        found = finding(code, message, severity=severity, advice=advice, **numbers)
        self._found.append(found.at(file=self.file))

    def take(self, found: Iterable[Finding]) -> None:
        """Keep findings made elsewhere, put down to this file."""
        self._found += [one.at(file=self.file) for one in found]

    def has(self, code: str) -> bool:
        """Whether a finding of this code was kept."""
        return any(found.code == code for found in self._found)

    @property
    def guesses_sides(self) -> bool:
        """Whether the file does not say which side is left, and that is not accepted."""
        return self.has("GEO-NOFORM") and "GEO-NOFORM" not in self.accept

    def refusal(
        self, code: str, message: str, *, advice: str | None = None, **numbers: Number
    ) -> Refused:
        """The error to raise where there is no way to go on; it cannot be waived."""
        self.note(code, message, severity=self._at_least_refuse(code), advice=advice, **numbers)
        return Refused(self._found)

    def settle(self) -> tuple[Finding, ...]:
        """The findings so far, worst first, waivers applied.

        Raises:
            Refused: a refusal is among them that is not accepted.
        """
        return refuse_if_needed(self._found, self.accept)

    @staticmethod
    def _at_least_refuse(code: str) -> Severity | None:
        return None if finding(code, "").refuses else Severity.REFUSE
