"""Trains one network on prepared cases, within a budget, or goes on where a run stopped."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from volunet.errors import DatasetError, Stopped
from volunet.inference.engines.torch_engine import to_channels_last
from volunet.models.correction import Correcting
from volunet.models.supervision import DeepSupervision
from volunet.models.unet import UShape
from volunet.planning.machine import training_dtype
from volunet.training import handlers
from volunet.training.average import Average
from volunet.training.begin import begin_network
from volunet.training.budget import Clock
from volunet.training.checkpoint import load_newest
from volunet.training.engine import Parts, build_trainer
from volunet.training.history import open_history
from volunet.training.job import Job
from volunet.training.losses.choose import count_bytes, loss_for
from volunet.training.measure import measure_of
from volunet.training.optim import make_optimizer
from volunet.training.processes import SharedTime
from volunet.training.run import Run
from volunet.training.scoring import last_score, score_held_out, scoring_s, start_clock
from volunet.training.short_memory import told_where_it_falls_short
from volunet.training.thin_maps import keep_thin_maps_exact
from volunet.training.tracking import NOBODY, Tracking, followed
from volunet.training.validate import Score

OF_TIME = (
    "A budget in time takes the steps that it has time for, so that the same command gives other "
    "weights another time; one in steps gives the same, bit for bit, on the same processors."
)


@dataclass(frozen=True)
class Trained:
    """What a run gives away.

    Args:
        weights: the averaged weights by name, on the CPU.
        score: of the last validation.
        steps: taken in all.
        seconds: of the budget spent.
        step_s: mean seconds of a step.
        drawing_share: share of a step that drawing and changing patches took.
        notes: what somebody should know of how it went, in sentences.
    """

    weights: dict[str, Tensor]
    score: Score
    steps: int
    seconds: float
    step_s: float
    drawing_share: float
    notes: tuple[str, ...] = ()


def fit(
    job: Job,
    *,
    say: Callable[[str], None] = lambda _: None,
    report: handlers.Report = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    tracking: Tracking = NOBODY,
) -> Trained:
    """Trains until the budget is spent, from the newest checkpoint in the folder if there is one.

    Args:
        say: is told what comes before the first step.
        report: is told of every line of the history.
        should_stop: asked after every step, and between cases that are scored.
        tracking: who follows the run; it changes nothing of it.

    Raises:
        ConfigError: a tracker's own store cannot be opened.
        DatasetError: there is no case to train on.
        MissingExtra: a tracker is not installed.
        Stopped: `should_stop` said so; a checkpoint was written, and the same call goes on.
        TrainingDiverged: a loss is not finite.
        OutOfMemory: not even one patch fits the memory, or not the weights with all that is kept
            of them.
    """
    if not job.train:
        raise DatasetError("There is no case to train on; see the findings of the dataset.")
    job.folder.mkdir(parents=True, exist_ok=True)
    here = tracking if job.processes.first else NOBODY
    loss_bytes = count_bytes(job.settings.loss)
    try:
        with told_where_it_falls_short(job.plan, job.device, loss_bytes=loss_bytes):
            state = load_newest(job.folder / "checkpoints", job.device)
            step = state["step"] if state else 0
            with followed(here, job.folder, step=step, report=report) as followers:
                trained = _train(job, state, say, followers.report, should_stop)
    finally:
        gc.collect()  # the trainer and its handlers hold each other, all weights and open cases
    return replace(trained, notes=(*trained.notes, *followers.lost))


def _train(
    job: Job,
    state: dict[str, Any] | None,
    say: Callable[[str], None],
    report: handlers.Report,
    should_stop: Callable[[], bool],
) -> Trained:
    """All steps that are left after `state`, and what they came to."""
    checkpoints, history = job.folder / "checkpoints", job.folder / "history.csv"
    run = _begin(job, state, say, should_stop)
    if job.processes.first:
        open_history(history, step=run.clock.step, measure=measure_of(job.plan))

    def score() -> Score:
        run.check_losses()  # what diverged is not scored
        return score_held_out(job, run, report, should_stop)

    trainer = build_trainer(
        run.parts, tell=run.note_pieces, pieces=run.pieces, processes=job.processes
    )
    handlers.count(trainer, run, should_stop)
    handlers.log(trainer, run, history, report)
    handlers.validate_now_and_then(trainer, run, score, most_s=scoring_s(job.budget, job.settings))
    handlers.keep_newest(trainer, run, checkpoints)
    handlers.stop_when_asked(trainer, run)
    run.begin_clock()
    if run.clock.progress < 1:  # else it was killed after its last step
        trainer.run(run.batches(), max_epochs=1)
    handlers.write_line(run, history, report)
    handlers.save(run, checkpoints)
    if run.now.lost is not None:
        raise run.now.lost
    if run.clock.progress < 1:
        raise Stopped(f"Stopped after {run.clock.step} steps; the same command goes on.")
    last = last_score(job, run)
    if last is None:
        last = score()
        handlers.save(run, checkpoints)
    return _give_away(run, last)


def _begin(
    job: Job,
    state: dict[str, Any] | None,
    say: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Run:
    """A run as it was left, or a new one, whose clock knows what a validation takes."""
    run = start_run(job)
    if state is not None:
        run.load_state_dict(state)
        say(f"Going on after step {run.clock.step}.")
    elif job.budget.seconds is not None:
        say(OF_TIME)
        if job.validation:
            start_clock(job, run, say, should_stop)
    return run


def start_run(job: Job) -> Run:
    """A run before its first step; the seed decides the weights and every draw."""
    torch.manual_seed(job.seed)
    plan, settings = job.plan, job.settings
    network, notes = begin_network(plan, settings, job.start, job.encoder_weights)
    network.to(job.device)
    scales = plan.supervised_scales
    module: nn.Module = network
    if scales > 1:
        assert isinstance(network, UShape), "the plan saw to that"
        module = DeepSupervision(network, scales=scales).to(job.device)
    if plan.added:
        module = Correcting(network, [plan.channels.index(name) for name in plan.added])
    if job.device.type == "cpu":
        to_channels_last(module)
        keep_thin_maps_exact(module)
    parts = Parts(
        network=network,
        module=module,
        loss=loss_for(plan, settings.loss, device=job.device, processes=job.processes),
        optimizer=make_optimizer(module, settings.optimisation, heads=plan.head_axes),
        average=Average(network, power=settings.average_power),
        device=job.device,
        dtype=training_dtype(job.device),
        clip_norm=settings.optimisation.clip_norm,
    )
    several = job.processes.several
    rng = np.random.default_rng([job.seed, job.processes.rank] if several else job.seed)
    now = SharedTime(job.processes)
    run = Run(plan, settings, parts, Clock(job.budget, now=now), list(job.train), rng, now)
    run.clock.reserve(scoring_s(job.budget, settings))
    for note in notes:
        run.note(note)
    return run


def _give_away(run: Run, score: Score) -> Trained:
    steps = max(run.clock.step, 1)
    return Trained(
        weights={name: w.cpu() for name, w in run.parts.average.state_dict().items()},
        score=score,
        steps=run.clock.step,
        seconds=run.clock.spent_s,
        step_s=run.stepping_s / steps,
        drawing_share=run.drawing_s / max(run.stepping_s, 1e-9),
        notes=tuple(run.notes),
    )
