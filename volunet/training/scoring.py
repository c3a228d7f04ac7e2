"""Scores the held-out cases of a run on its way, in the time that is kept for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.errors import Stopped
from volunet.training import handlers
from volunet.training.budget import Budget, Clock
from volunet.training.drift import DRIFT, find_drift
from volunet.training.history import read_history
from volunet.training.job import Job
from volunet.training.measure import measure_of, names_of
from volunet.training.run import Run
from volunet.training.settings import Training
from volunet.training.validate import Score, looking, mean_score, score_cases, time_a_case

SCORING_SHARE = 0.1
"""Part of a budget in time that validations may take, all together."""


def start_clock(
    job: Job, run: Run, say: Callable[[str], None], should_stop: Callable[[], bool]
) -> None:
    """The clock of a new run, with time kept back for a validation, by what one case takes."""
    case = job.validation[int(_order(job)[0])]
    say(f"Timing the held-out case {case.case_id}: by that the last validation ends in time.")

    def heed() -> None:
        run.now.agree(wish=should_stop())
        if run.now.stop:
            raise Stopped("Stopped before the first step; the same command begins again.")

    with run.parts.average.in_place() as network:
        how: dict[str, Any] = {"device": job.device, "dtype": run.parts.dtype, "after": heed}
        took = max(job.processes.gathered(time_a_case(network, case, job.plan, **how)))
    longest = 1.1 * took * len(job.validation) / job.processes.count
    run.clock = Clock(job.budget, now=run.now)
    run.clock.reserve(min(longest, scoring_s(job.budget, job.settings)))
    run.note(
        f"Before the first step the held-out case {case.case_id} was segmented twice, the second "
        f"time in {took:.2f} s, which is no part of the budget; {run.clock.reserved_s:.2f} s of it "
        "are kept back for the last validation."
    )


def _order(job: Job) -> NDArray[np.int64]:
    """Where time is up before all are scored, those scored are not the first by name."""
    return np.random.default_rng(0).permutation(len(job.validation))


def score_held_out(
    job: Job, run: Run, report: handlers.Report, should_stop: Callable[[], bool]
) -> Score:
    """Scores held-out cases with the averaged weights, and writes a line.

    Processes that wait for each other are asked to stop after the step that follows.
    """
    mine, large = _order(job)[job.processes.rank :: job.processes.count].tolist(), list[str]()
    with run.parts.average.in_place() as network:
        rows = score_cases(
            looking(network, job.device, run.parts.dtype),
            [job.validation[place] for place in mine],
            job.plan,
            most_s=scoring_s(job.budget, job.settings),
            tell=large.append,
            should_stop=lambda: not job.processes.several and should_stop(),
        )
    known: dict[int, list[float]] = {}
    pairs = zip(mine, rows, strict=False)  # time may be up
    scored = {place: row for place, row in pairs if row is not None}
    for some, notes in job.processes.gathered((scored, large)):
        known |= some
        for note in notes:
            run.note_once(note)
    score = _mean(job, known)
    run.validated += 1
    run.validations[run.clock.step] = known
    history = job.folder / "history.csv"
    told, of = read_history(history), score.held_out
    drift = find_drift(told, run.validations, of=of, measure=score.measure)
    if drift is not None and not any(note.startswith(DRIFT) for note in run.notes):
        run.note(drift)
    handlers.write_line(run, history, report, score=score)
    return score


def _mean(job: Job, known: Mapping[int, list[float]]) -> Score:
    """The mean of the held-out cases that were scored."""
    measure, held_out = measure_of(job.plan), len(job.validation)
    return mean_score([*known.values()], names_of(job.plan), measure, held_out=held_out)


def last_score(job: Job, run: Run) -> Score | None:
    """That of these weights, where an earlier start came to it."""
    known = run.validations.get(run.clock.step)
    return None if known is None else _mean(job, known)


def scoring_s(budget: Budget, settings: Training) -> float:
    """Seconds that one validation may take: a tenth of a budget in time for all of them."""
    if budget.seconds is None:
        return inf
    return SCORING_SHARE * budget.seconds / settings.validations
