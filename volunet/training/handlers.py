"""What happens between steps: each handler does one thing, after every step, in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ignite.engine import Engine, Events

from volunet.errors import Stopped, TakenOver
from volunet.training.budget import Budget
from volunet.training.checkpoint import save_checkpoint
from volunet.training.history import Row, append_row
from volunet.training.run import Run
from volunet.training.validate import Score


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run tells those who watch it.

    Args:
        row: the newest line of the history.
        budget: of the run.
        progress: from 0 to 1.
        score: of a validation that has just ended, else None.
        notes: what somebody should know, in sentences.
    """

    row: Row
    budget: Budget
    progress: float
    score: Score | None = None
    notes: tuple[str, ...] = ()


Report = Callable[[Progress], None]


def count(trainer: Engine, run: Run, should_stop: Callable[[], bool]) -> None:
    """Counts the step, averages the weights, keeps the loss for later; agrees on the time.

    Args:
        should_stop: whether this process is asked to stop, which all then do.
    """

    def after_step() -> None:
        run.note_step(trainer.state.output)
        try:
            wish = should_stop()
        except TakenOver as lost:  # told in the end, as others may wait for this process
            run.now.lost, wish = lost, True
        run.now.agree(wish=wish)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)


def log(trainer: Engine, run: Run, history: Path, report: Report) -> None:
    """Reads the losses every few steps, writes a line, tells those who watch."""

    def after_step() -> None:
        if run.clock.step % run.settings.log_steps == 0:
            write_line(run, history, report)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)


def write_line(run: Run, history: Path, report: Report, *, score: Score | None = None) -> None:
    """Writes a line of the history from what was not yet read.

    Raises:
        TrainingDiverged: a loss is not finite.
    """
    read = run.read_losses()
    if read is None and score is None:
        return
    loss, norm = read or (None, None)
    mean, cases = (None, None) if score is None else (score.mean, score.cases)
    if not run.now.writes:
        return
    row = Row(run.clock.step, run.clock.spent_s, loss, run.rate, norm, mean, cases)
    append_row(history, row)
    report(Progress(row, run.clock.budget, run.clock.progress, score, run.untold()))


def validate_now_and_then(
    trainer: Engine, run: Run, validate: Callable[[], Score], *, most_s: float
) -> None:
    """Scores whole cases at even shares of the run; the last time is not this handler's.

    A share that went by during a validation is passed over, and so is one before which validations
    took longer than they may.

    Args:
        most_s: seconds that one may take on average.
    """
    times = run.settings.validations

    def after_step() -> None:
        due = (run.validated + 1) / times
        if run.clock.progress < due or due >= 1:
            return
        if run.scored_s > most_s * run.validated:
            run.validated += 1
            run.note(
                f"A validation is passed over: those so far took {run.scored_s:.0f} s. Fewer, "
                "shorter ones: training.validations, or fewer held-out cases."
            )
            return
        started = run.now()
        try:
            validate()
        except Stopped as stopped:  # not through the trainer, which would tell of a fault
            run.now.stop = True
            run.now.lost = stopped if isinstance(stopped, TakenOver) else run.now.lost
            return
        run.now.agree(wish=run.now.stop)
        took = run.now() - started
        run.scored_s += took
        run.clock.reserve(1.1 * took)
        run.validated = max(run.validated, int(run.clock.progress * times))

    trainer.add_event_handler(Events.STARTED, after_step)  # where it was stopped meanwhile
    trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)


def keep_newest(trainer: Engine, run: Run, folder: Path) -> None:
    """Writes a checkpoint once in a while, never of a loss that is not finite."""
    saved = run.now()

    def after_step() -> None:
        nonlocal saved
        if run.now() - saved >= run.settings.checkpoint_s and not run.unread:
            save(run, folder)
            saved = run.now()

    trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)


def save(run: Run, folder: Path) -> None:
    """Writes a checkpoint, which all processes make and the first one keeps."""
    state = run.state_dict()
    if run.now.writes:
        save_checkpoint(folder, run.clock.step, state)


def stop_when_asked(trainer: Engine, run: Run) -> None:
    """Ends the run after this step where the caller says so."""

    def after_step() -> None:
        if run.now.stop:
            trainer.terminate()

    trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)
