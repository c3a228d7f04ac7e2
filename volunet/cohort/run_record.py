"""The record of one run: what was asked, of which model, on what, and how it went.

No folder is named, as its name may name a patient.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

from volunet.io.atomic import write_text

NAME = "run.json"
FORMAT = 1
PACKAGES = ("volunet", "torch", "monai", "numpy")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the caller knows about a run, for its tables and record.

    Args:
        root: the folder that scans are named from in tables; None calls them by their names.
        arguments: of the command, by name; values that JSON knows, or paths.
        device: what computes, such as "cpu" or "cuda:0".
        predicted_gb: peak memory of the scan that takes most (10^9 bytes); None where not known.
    """

    root: Path | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    device: str = ""
    predicted_gb: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What `run.json` holds.

    Args:
        model: the model's identity.
        accepted: codes of refusals that were waived.
        inputs: number of scans found.
        kept: those that an earlier run had done.
        counts: finished cases by status.
        started: with a time zone.
        ended: None while the run goes on, or was killed.
    """

    asked: Asked
    model: str
    accepted: tuple[str, ...]
    inputs: int
    started: datetime
    ended: datetime | None = None
    kept: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """The record as text; times are UTC (ISO 8601)."""
        seconds = (self.ended - self.started).total_seconds() if self.ended else None
        values = {
            "format": FORMAT,
            "arguments": {name: _told(value) for name, value in self.asked.arguments.items()},
            "model": self.model,
            "versions": versions(),
            "device": self.asked.device,
            "predicted_peak_gb": self.asked.predicted_gb,
            "accepted": sorted(self.accepted),
            "started": self.started.isoformat(timespec="seconds"),
            "ended": self.ended.isoformat(timespec="seconds") if self.ended else None,
            "seconds": seconds,
            "inputs": self.inputs,
            "finished": sum(self.counts.values()),
            "kept": self.kept,
            "counts": dict(self.counts),
        }
        return json.dumps(values, indent=2) + "\n"


def write_run_record(folder: Path, record: RunRecord) -> Path:
    """Writes `run.json`, in the place of an earlier one.

    Raises:
        WriteError: the disk is full or refuses.
    """
    return write_text(folder / NAME, record.to_json())


def versions() -> dict[str, str]:
    """Versions of volunet, of the packages that its results depend on, and of Python."""
    return {name: version_of(name) for name in PACKAGES} | {"python": platform.python_version()}


def version_of(package: str) -> str:
    """The version of an installed package; "unknown" where it runs from its source."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _told(value: object) -> object:
    """An argument as JSON; paths by their last part alone."""
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, str):
        return PurePath(value).name if os.path.isabs(value) else value
    if isinstance(value, list | tuple | set | frozenset):
        return [_told(part) for part in value]
    return value if isinstance(value, bool | int | float) or value is None else str(value)
