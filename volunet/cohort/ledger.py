"""The books of a run, kept as it goes: journal, tables and run record of one folder."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from volunet.cohort.case import output_name
from volunet.cohort.earlier import is_foreign
from volunet.cohort.journal import CaseRecord, Journal
from volunet.cohort.run_record import RunRecord, write_run_record
from volunet.cohort.tables import write_tables
from volunet.errors import Stopped
from volunet.planning.targets import Targets

TABLES_EVERY_S = 60.0
MASK_STAYS = "The mask that an earlier run made of it stays."


class Ledger:
    """The finished cases of a run, each on the disk as soon as it is added.

    Args:
        inputs: how tables call every scan found, by case id.
        run: as it stands at the start.
        targets: what is estimated in place of masks.
        sums_of: what masks of a case volunet wrote in the folder, by their SHA-256.
    """

    def __init__(
        self,
        journal: Journal,
        inputs: Mapping[str, str],
        run: RunRecord,
        targets: Targets | None = None,
        *,
        sums_of: Callable[[str], Collection[str]] = lambda _: (),
    ) -> None:
        self.journal = journal
        self.inputs = inputs
        self.run = run
        self.targets, self.sums_of = targets, sums_of
        self.finished: dict[str, CaseRecord] = {}
        self.kept = 0
        self.told_at = time.monotonic()

    @property
    def folder(self) -> Path:
        """Where the books lie."""
        return self.journal.path.parent

    @property
    def counts(self) -> dict[str, int]:
        """Finished cases by status."""
        return dict(sorted(Counter(r.status for r in self.finished.values()).items()))

    def add(self, record: CaseRecord, *, kept: bool) -> None:
        """Enters a case; a mask that an earlier run made of other input is removed.

        One that somebody drew or changed by hand stays in any event.

        Where the input cannot be reached, as of a disk that is not there tonight, nothing is known
        of it: the mask and its record stay, and only this run's tables tell.

        Args:
            kept: the journal has the record already.

        Raises:
            Stopped: the books cannot be kept, as the disk is full or refuses.
        """
        try:
            mask = self.folder / output_name(record.case_id, record.input, self.targets)
            earlier = self.journal.records.get(record.case_id)
            unknown = not record.is_ok and not record.key
            if unknown and earlier is not None and earlier.is_ok and os.path.lexists(mask):
                record = replace(record, message=f"{record.message} {MASK_STAYS}".strip())
            else:
                if not record.is_ok and os.path.lexists(mask):
                    self._remove(mask, record.case_id)
                if not kept:
                    self._append(record, mask)
        except OSError as error:
            raise Stopped(
                f"{error} Finished cases are kept: free some space, or mend the folder's "
                "permissions, and run it again."
            ) from error
        self.finished[record.case_id] = record
        self.kept += kept
        if time.monotonic() - self.told_at > TABLES_EVERY_S:
            self.tell()

    def _remove(self, mask: Path, case_id: str) -> None:
        """Removes a mask of other input, unless somebody drew or changed it."""
        if not is_foreign(mask, self.sums_of(case_id)):
            mask.unlink()

    def _append(self, record: CaseRecord, mask: Path) -> None:
        """Adds to the journal; a mask that it does not know of would be a stranger's."""
        try:
            self.journal.append(record)
        except OSError:
            if record.is_ok:
                mask.unlink(missing_ok=True)
            raise

    def tell(self, *, ended: bool = False) -> None:
        """Writes the tables and the run record as things stand.

        Raises:
            WriteError: the disk is full or refuses.
        """
        now = datetime.now(UTC) if ended else None
        write_tables(self.folder, self.inputs, self.finished)
        run = replace(self.run, ended=now, kept=self.kept, counts=self.counts)
        write_run_record(self.folder, run)
        self.told_at = time.monotonic()
