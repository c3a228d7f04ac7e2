"""What volunet finds wrong, or worth knowing, in a scan, a label file or a dataset.

A finding has a stable code, a severity, the numbers it rests on, one sentence that says what it
means and one that says what to do. The codes and their usual severity stand in `volunet.codes`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from volunet.codes import CODES
from volunet.errors import VolunetError

Number = int | float | str


class Severity(StrEnum):
    """How much a finding matters; `refuse` means that nothing is written for the case."""

    INFO = "info"
    WARN = "warn"
    REFUSE = "refuse"
    FAULT = "fault"


RANK = {Severity.INFO: 0, Severity.WARN: 1, Severity.REFUSE: 2, Severity.FAULT: 3}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found in one place.

    Args:
        code: a key of `volunet.codes.CODES`, such as "IO-TRUNC".
        message: what was found, with its numbers.
        advice: what to do about it.
        case: the case id, empty where it is not known.
        file: the file's name (not its folder), empty where it is not known.
        numbers: what the message rests on, for scripts.
        accepted: the caller waived a refusal with `--accept`.
    """

    code: str
    severity: Severity
    message: str
    advice: str
    case: str = ""
    file: str = ""
    numbers: Mapping[str, Number] = field(default_factory=dict)
    accepted: bool = False

    @property
    def refuses(self) -> bool:
        """Whether this finding stops its case."""
        return RANK[self.severity] >= RANK[Severity.REFUSE] and not self.accepted

    def at(self, *, case: str | None = None, file: str | None = None) -> Finding:
        """The same finding with its place filled in."""
        return replace(
            self,
            case=self.case if case is None else case,
            file=self.file if file is None else file,
        )

    def to_json(self) -> str:
        """One line of JSON with the keys of the contract."""
        keys = ("code", "severity", "case", "file", "message", "advice", "numbers")
        values = {key: getattr(self, key) for key in keys}
        values["numbers"] = dict(self.numbers)
        return json.dumps(values | ({"accepted": True} if self.accepted else {}))

    def __str__(self) -> str:
        return f"{self.code}: {self.message} {self.advice}".strip()


def as_data(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as a JSON file holds them."""
    return [json.loads(found.to_json()) for found in findings]


def from_data(rows: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """The findings of a JSON file."""
    return tuple(Finding(**{**row, "severity": Severity(row["severity"])}) for row in rows)


def finding(
    code: str,
    message: str,
    *,
    severity: Severity | None = None,
    advice: str | None = None,
    **numbers: Number,
) -> Finding:
    """A finding of a known code; severity and advice come from the table unless given.

    Raises:
        KeyError: the code is not in `volunet.codes.CODES`.
    """
    usual = CODES[code]
    return Finding(
        code=code,
        severity=Severity(usual.severity) if severity is None else severity,
        message=message,
        advice=usual.advice if advice is None else advice,
        numbers=numbers,
    )


def accept(found: Iterable[Finding], codes: Collection[str]) -> list[Finding]:
    """The findings, with refusals of these codes marked as accepted."""
    return [replace(f, accepted=True) if f.refuses and f.code in codes else f for f in found]


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """Findings sorted: those that refuse, then by severity, then case, then code."""
    return sorted(found, key=lambda f: (not f.refuses, -RANK[f.severity], f.case, f.code))


class Refused(VolunetError, ValueError):  # noqa: N818 - the house's name
    """A scan or label file was refused; `findings` says why, the refusing ones first."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(worst_first(findings))
        super().__init__("\n".join(str(f) for f in self.findings if f.refuses))


def refuse_if_needed(found: Iterable[Finding], codes: Collection[str] = ()) -> tuple[Finding, ...]:
    """The findings with waivers applied, worst first.

    Raises:
        Refused: a refusal is left that `codes` does not accept.
    """
    judged = tuple(worst_first(accept(found, codes)))
    if any(f.refuses for f in judged):
        raise Refused(judged)
    return judged
