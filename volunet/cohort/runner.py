"""A folder of scans through one model, case by case, where no scan can stop the others.

Masks, journal, tables and run record go to one folder, on which one process works at a time. While
a scan is segmented the next one is read and the last one's mask is written, so the memory of one
more scan and one more mask is needed. A run that was
stopped or killed goes on when it is started again: a case whose files and model are the same, and
whose mask is still as it was written, is not done again, nor is one that was refused and is not
waived now. A mask that somebody drew or changed by hand is never written over.
Cases that failed or ran out of memory are tried again; one that the process did not survive comes
last, and twice at the most.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from volunet.cohort.attempts import NAME as BEGUN
from volunet.cohort.attempts import Attempts
from volunet.cohort.case import (
    Made,
    Ready,
    Work,
    keep,
    make_ready,
    name_input,
    output_name,
    segment,
)
from volunet.cohort.journal import NAME, CaseRecord, Journal
from volunet.cohort.ledger import Ledger
from volunet.cohort.lock import Lock, locked
from volunet.cohort.protocol import Model
from volunet.cohort.run_record import Asked, RunRecord
from volunet.data.cases import Scan, find_clashes
from volunet.errors import ConfigError, Stopped, TakenOver, WriteError
from volunet.findings import Refused
from volunet.io.names import composed

ALL_WELL, SOME_NOT_OK, NONE_OK = 0, 3, 4


@dataclass(frozen=True)
class Outcome:
    """What became of every input.

    Args:
        records: one for each input, in the order of the inputs.
        kept: how many of them an earlier run had done.
        others: masks that earlier runs left in the folder, of scans that were not among the inputs.
    """

    records: tuple[CaseRecord, ...]
    kept: int
    counts: dict[str, int]
    others: int = 0

    @property
    def exit_code(self) -> int:
        """0 where every case is ok, 3 where some are not, 4 where none is, as of no input."""
        ok = sum(record.is_ok for record in self.records)
        if not ok:
            return NONE_OK
        return ALL_WELL if ok == len(self.records) else SOME_NOT_OK


@dataclass(frozen=True)
class Watcher:
    """Who hears of each case: other processes by the lock, and the caller."""

    lock: Lock
    report: Callable[[CaseRecord, int, int], None]
    should_stop: Callable[[], bool]


def predict_cohort(
    scans: Sequence[Scan],
    model: Model,
    out: Path,
    *,
    accept: Collection[str] = (),
    report: Callable[[CaseRecord, int, int], None] = lambda record, done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    asked: Asked | None = None,
) -> Outcome:
    """Segments scans into `out`: a mask a case, `cases.csv`, `measurements.csv`, `run.json`.

    Masks that an earlier run left in `out` are not taken for scans, so that `out` may lie below
    the folder of scans.

    Args:
        out: made if it is not there; its name is given in no table.
        accept: codes of refusals to waive.
        report: called with each finished case, those kept from an earlier run included, and how
            many of how many are done, from the thread that writes masks.
        should_stop: asked before each case, and from another thread while one takes long; the
            case at work is always finished.
        asked: what else the tables and the run record tell.

    Raises:
        Refused: two scans have the same case id.
        ConfigError: `out` cannot be used: another process works on it, it is the folder of the
            scans, or it holds files that volunet did not make and would overwrite.
        Stopped: `should_stop` said so, or the disk is full. The tables are written, as far as
            they can be, and the same call goes on.
        WriteError: the tables cannot be written.
    """
    out, asked = Path(out), asked or Asked()
    named = [(scan.case_id, composed(scan.images[0].name)) for scan in scans]
    if clashes := find_clashes(named):
        raise Refused(clashes)
    with locked(out) as lock:
        scans, journal = _open_folder(scans, out, model)
        inputs = {scan.case_id: name_input(scan, asked.root) for scan in scans}
        run = RunRecord(
            asked=asked,
            model=model.identity,
            accepted=tuple(accept),
            inputs=len(scans),
            started=datetime.now(UTC),
        )
        attempts = Attempts(out / BEGUN, asked.arguments)
        work = Work(model, out, frozenset(accept), journal, inputs, attempts)
        ledger = Ledger(journal, inputs, run, model.plan.targets, sums_of=work.sums_of)
        with _ended(attempts), attempts.watching(should_stop):
            _keep_books(scans, work, ledger, Watcher(lock, report, should_stop))
        records = tuple(ledger.finished[scan.case_id] for scan in scans)
        left = [r for r in journal.records.values() if r.is_ok and r.case_id not in inputs]
        others = sum((out / record.output).is_file() for record in left)
        return Outcome(records, ledger.kept, ledger.counts, others)


@contextmanager
def _ended(attempts: Attempts) -> Iterator[None]:
    """Closes the attempts, unless the folder is another process's by then."""
    try:
        yield
    except TakenOver:
        raise
    except BaseException:
        attempts.close()
        raise
    attempts.close()


def _open_folder(scans: Sequence[Scan], out: Path, model: Model) -> tuple[list[Scan], Journal]:
    """The scans without results of earlier runs, and the journal of `out`.

    Raises:
        ConfigError: scans lie in `out`, so that masks would come to lie among them, or on them.
    """
    home = out.resolve()
    inside = [s for s in scans if any(p.parent.resolve() == home for p in s.images)]
    inside_ids = {s.case_id for s in inside}
    others = [s for s in scans if s.case_id not in inside_ids]
    targets = model.plan.targets
    ours = {NAME, *(output_name(s.case_id, s.images[-1], targets) for s in others)}
    if not inside or (out / NAME).exists():
        journal = Journal.open(out, outputs=ours)
        ours |= {record.output for record in journal.records.values()}
        inside = [s for s in inside if not {p.name for p in s.images} <= ours]
    if inside:
        raise ConfigError(
            f"{len(inside)} of the scans lie in {out.name or out}, where the masks would go, such "
            f"as {inside[0].images[0].name!r}. Choose another folder for the masks."
        )
    return others, journal


def _keep_books(scans: Sequence[Scan], work: Work, ledger: Ledger, watcher: Watcher) -> None:
    """Does all cases; whatever ends it, the tables tell how far it came."""
    ledger.tell()
    try:
        _do_all(scans, work, ledger, watcher)
    except TakenOver:
        raise
    except Stopped:
        with suppress(WriteError):  # the disk may be full, which is why it stopped
            ledger.tell(ended=True)
        raise
    except BaseException:
        ledger.tell(ended=True)
        raise
    ledger.tell(ended=True)


def _do_all(scans: Sequence[Scan], work: Work, ledger: Ledger, watcher: Watcher) -> None:
    """All scans in their order; those that a process did not survive come last, one by one.

    Raises:
        Stopped: asked to, or the disk is full. The masks begun are kept.
    """
    lost = [scan for scan in scans if work.attempts.lost(scan.case_id)]
    others = [scan for scan in scans if not work.attempts.lost(scan.case_id)]

    def settle(made: Made) -> None:
        watcher.lock.refresh()  # before anything is written into a folder that is another's now
        record = keep(made, work)
        kept = record is made.found
        ledger.add(record, kept=kept)
        work.attempts.done(made.scan.case_id, kept=kept)
        watcher.lock.refresh()
        with suppress(OSError, SystemExit):  # nobody listens any more: no reason to stop
            watcher.report(ledger.finished[made.scan.case_id], len(ledger.finished), len(scans))

    going = _do(others, work, watcher, settle, overlaps=work.model.overlaps)
    going = going and _do(lost, work, watcher, settle, overlaps=False)
    if not going and len(ledger.finished) < len(scans):
        raise Stopped(
            f"Stopped after {len(ledger.finished)} of {len(scans)} cases. The same command goes on."
        )


def _do(
    scans: Sequence[Scan],
    work: Work,
    watcher: Watcher,
    settle: Callable[[Made], None],
    *,
    overlaps: bool,
) -> bool:
    """Each scan in turn, while the next one is read and the mask of the last one is written.

    Returns:
        Whether nobody asked to stop.
    """
    going, settled = True, Future[None]()
    settled.set_result(None)
    with (
        closing(_read_ahead(scans, work, overlaps=overlaps)) as coming,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="volunet-write") as writer,
    ):
        try:
            while (going := not watcher.should_stop()) and (ready := next(coming, None)):
                made = segment(ready, work)
                del ready  # its voxels go before the scan after the next is read
                settled.result()
                settled = writer.submit(settle, made)
                if not overlaps:
                    settled.result()
                    del made
        finally:
            settled.result()
    return going


def _read_ahead(
    scans: Sequence[Scan], work: Work, *, overlaps: bool
) -> Generator[Ready, None, None]:
    """The scans made ready in their order, one ahead of the one in use where they may overlap."""
    if not overlaps:
        yield from (make_ready(scan, work) for scan in scans)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="volunet-read") as pool:
        coming: Future[Ready] | None = None
        for scan in scans:
            following = pool.submit(make_ready, scan, work)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
