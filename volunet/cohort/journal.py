"""The journal of a folder of results: one JSON line a finished case, never changed.

It is what a run goes on from after it was stopped or killed. The first line says the format; of
several lines of one case the last one counts. A line that cannot be read, such as one that was half
written when the power went, is as good as none: its case is done again. The SHA-256 of every mask
tells those that volunet wrote from those that somebody drew or changed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from volunet.errors import ConfigError, WriteError
from volunet.io.atomic import write_text

Status = Literal["ok", "ok_with_findings", "refused", "failed", "timeout", "oom"]

NAME = "journal.jsonl"
FORMAT = '{"format": 1}'


@dataclass(frozen=True, slots=True)
class Measurement:
    """How much of a case one structure takes; nothing where it is absent."""

    label: str
    value: int
    voxels: int
    volume_ml: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """What became of one case.

    Args:
        codes: of its findings that are a warning or worse, worst first.
        message: what they say, or what failed, in one line.
        seconds: reading, segmenting and writing, all of them together.
        steps: these seconds by step; steps of neighbouring cases overlap in time.
        peak_gb: the most memory the process held meanwhile (10^9 bytes), the next scan included;
            None where the system does not tell.
        input: the scan's files below the input folder, with ";" between.
        output: the name of the mask's file, empty where none was written.
        key: hash of the scan's files, the model and volunet's version; empty where the files could
            not be read.
        accept: codes of refusals that were waived.
        output_sha256: of the mask's file.
        measurements: one for each structure of the model.
        how: the mask was made: by which engine, from how many windows, within what memory.
    """

    case_id: str
    status: Status
    codes: tuple[str, ...] = ()
    message: str = ""
    seconds: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)
    peak_gb: float | None = None
    input: str = ""
    output: str = ""
    key: str = ""
    accept: tuple[str, ...] = ()
    output_sha256: str = ""
    measurements: tuple[Measurement, ...] = ()
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Whether there is a mask."""
        return self.status in ("ok", "ok_with_findings")


RECORD = TypeAdapter(CaseRecord)


class Journal:
    """The records in a folder, the last one of each case.

    Args:
        path: of the journal, which exists and ends in a whole line.
        records: by case id.
        sums: of all masks that were ever written of each case.
    """

    def __init__(self, path: Path, records: Iterable[CaseRecord]) -> None:
        self.path = path
        self.records: dict[str, CaseRecord] = {}
        self.sums: dict[str, set[str]] = {}
        for record in records:
            self._take(record)

    @classmethod
    def open(cls, folder: Path, *, outputs: Collection[str] = ()) -> Self:
        """The journal of a folder, begun if there is none.

        Args:
            outputs: names of the files that will be written to the folder.

        Raises:
            ConfigError: the folder has no journal and holds files of these names, which are
                somebody else's; or its journal is of another format.
            WriteError: the journal cannot be begun.
        """
        path = folder / NAME
        if not path.exists():
            _refuse_strangers(folder, outputs)
            write_text(path, FORMAT + "\n")
        return cls(path, _read(path))

    def append(self, record: CaseRecord) -> None:
        """Adds a record, on the disk when this returns.

        Raises:
            WriteError: the disk is full or refuses.
        """
        try:
            with self.path.open("ab") as file:
                file.write(RECORD.dump_json(record) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise WriteError(f"{NAME} could not be added to: {error.strerror}.") from error
        self._take(record)

    def _take(self, record: CaseRecord) -> None:
        self.records[record.case_id] = record
        if record.output_sha256:
            self.sums.setdefault(record.case_id, set()).add(record.output_sha256)


def _refuse_strangers(folder: Path, outputs: Collection[str]) -> None:
    there = sorted(set(os.listdir(folder)) & set(outputs))
    if there:
        raise ConfigError(
            f"{folder.name} already holds {len(there)} files that would be overwritten, such as "
            f"{there[0]!r}, and no {NAME} that says they are results. Choose another folder."
        )


def _read(path: Path) -> list[CaseRecord]:
    """All records; a half line at the end is cut off, so that more can follow."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    first, *lines = whole.splitlines() or [b""]
    if first != FORMAT.encode():
        raise ConfigError(
            f"{path.parent.name} holds a {NAME} that this version of volunet does not know. "
            "Choose another folder."
        )
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    records = []
    for line in lines:
        try:
            records.append(RECORD.validate_json(line))
        except ValidationError:
            continue
    return records
