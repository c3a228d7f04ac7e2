"""From a dataset to a model: a whole training run in one folder, which can be gone on with."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from volunet.api.asked import Wanted, Watch
from volunet.api.calibration import SHARE, calibrate_run
from volunet.api.estimates import ValidatedValues, validate_estimates
from volunet.api.made_from import asked_of
from volunet.api.planning import open_dataset
from volunet.api.preparation import plan_run, prepare_job
from volunet.api.run_folder import RunFolder
from volunet.api.validation import Validated, validate_run
from volunet.cohort.lock import locked
from volunet.data.cases import Case, Dataset
from volunet.data.splits import Split, find_unused, read_splits, split_cases
from volunet.errors import MissingExtra
from volunet.findings import Finding, as_data
from volunet.inference.calibration import Calibration
from volunet.packaging import model_file
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.machine import find_device, name_of_device, training_dtype
from volunet.recipe import Recipe
from volunet.reporting.curves import draw_curves
from volunet.training.fit import Trained, fit
from volunet.training.job import Job
from volunet.training.measure import measure_of
from volunet.training.processes import Processes, joined, own_device
from volunet.training.tracking import Tracking, check_trackers, name_parameters


@dataclass(frozen=True)
class TrainedRun:
    """A run that ended.

    Args:
        folder: of the run; the model lies in its `model/`.
        trained: None where the run had ended before.
        validated: scores of the held-out cases on their own grids; None without such cases.
        findings: about the cases; refused cases were left out.
        calibration: what `--fast` and `--best` stand for; None without held-out cases, and where
            values are estimated.
    """

    folder: Path
    trained: Trained | None = None
    validated: Validated | ValidatedValues | None = None
    findings: tuple[Finding, ...] = field(default_factory=tuple)
    calibration: Calibration | None = None

    @property
    def model(self) -> Path:
        """The folder of the model."""
        return self.folder / "model"


def train(
    dataset: Path | str,
    folder: Path | str,
    recipe: Recipe | None = None,
    *,
    wanted: Wanted | None = None,
    watch: Watch | None = None,
) -> TrainedRun:
    """Trains a model on a dataset, or goes on where the same call stopped.

    Args:
        dataset: a folder or a CSV of labelled cases.
        folder: of the run; made where it is missing.
        recipe: how to train and for how long; by default everything is left to the rules.
        wanted: fold, seed, device and the like.
        watch: who is told how it goes.

    Raises:
        DatasetError: there is no such dataset, or nothing in it to train on.
        ConfigError: a setting does not fit, the folder holds a run that was started otherwise,
            another process works in it, or what is to track it cannot be opened.
        MissingExtra: what is to track it is not installed.
        Refused: the dataset is in doubt; the findings say why.
        Stopped: `watch.should_stop` said so; the same call goes on.
        TrainingDiverged: the loss is not finite.
    """
    wanted, watch = wanted or Wanted(), watch or Watch()
    check_trackers(wanted.track)
    with joined(find_device(wanted.device)) as processes, ExitStack() as held:
        processes.check_alike(f"{Path(folder).resolve()} {dataset} {recipe} {wanted}")
        if processes.first:
            watch = watch.while_held(held.enter_context(locked(Path(folder))))
        run = RunFolder(Path(folder), writes=processes.first)
        return _train(run, dataset, recipe or Recipe.default(), wanted, watch, processes)


def _train(
    run: RunFolder,
    dataset: Path | str,
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
    processes: Processes,
) -> TrainedRun:
    opened = open_dataset(dataset, recipe, accept=wanted.accept, counted=watch.counted)
    split = _split(opened, wanted)
    unused = find_unused(opened.cases, [split]) if wanted.splits and not wanted.split else []
    asked, unreadable = asked_of(opened, split, recipe, wanted, before=run.goes_on_from)
    run.check_readable(unreadable)
    run.check_unchanged(asked)
    _tell_alike(unreadable, watch)
    if run.finished:
        watch.say(f"{run.path} has ended already; its model is in {run.path / 'model'}.")
        return TrainedRun(run.path, findings=run.findings)
    with processes.first_before_others():  # what the first one has made the others find
        job, fingerprint, found = _begin(run, opened, split, asked, recipe, wanted, watch)
        run.keep_found(unreadable)
    job = replace(job, processes=processes, device=own_device(job.device))
    trained = _fit(job, recipe, wanted, watch)
    if not processes.first:
        return TrainedRun(run.path, trained)
    _keep_model(run, trained, job, recipe, fingerprint)
    _draw_curves(run, watch)
    held_out = [opened.case(case_id) for case_id in split.validation]
    how: dict[str, Any] = {"device": job.device, "accept": wanted.accept, "counted": watch.count}
    validated: Validated | ValidatedValues | None
    if job.plan.targets is not None:
        validated, calibration = validate_estimates(run.path, held_out, **how), None
    else:
        tolerance_mm = recipe.nsd_tolerance_mm
        validated = validate_run(run.path, held_out, tolerance_mm=tolerance_mm, **how)
        calibration = _calibrate(run, held_out, trained, job, wanted, watch)
    about = (*opened.findings, *unused, *unreadable, *found)
    findings = once((*about, *(validated.findings if validated else ())))
    run.write_record({"status": "finished", **_facts(trained, job, findings)})
    return TrainedRun(run.path, trained, validated, findings, calibration)


def _tell_alike(findings: Iterable[Finding], watch: Watch) -> None:
    """Says before hours are spent that held-out cases may be known to the model to start from."""
    for found in findings:
        if found.code == "SET-SAME-ID":
            watch.say(str(found))


def _begin(
    run: RunFolder,
    opened: Dataset,
    split: Split,
    asked: Mapping[str, Any],
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> tuple[Job, Fingerprint, tuple[Finding, ...]]:
    """The job of a run, what its plan was made from, and what was found about its cases."""
    plan, fingerprint, found = plan_run(run, opened, split, asked, recipe, wanted, watch)
    made_from = {**asked, "plan": plan.model_dump(mode="json")}
    run.check_unchanged(made_from)
    run.write_splits(split.model_dump_json(indent=2))
    run.write_record({"status": "running", "made_from": made_from})
    job, skipped = prepare_job(run, opened, split, plan, recipe, wanted, watch)
    return job, fingerprint, (*found, *skipped)


def _fit(job: Job, recipe: Recipe, wanted: Wanted, watch: Watch) -> Trained:
    """Trains, followed by those who were asked for.

    They are told the recipe, and what was planned where it leaves that to the rules.
    """
    watch.say(
        f"Training on {len(job.train)} cases for {recipe.time}, {len(job.validation)} held out."
    )
    asked = recipe.model_dump(mode="json", exclude={"description", "intended_use"})
    planned = job.plan.model_dump(mode="json", include={"patch", "batch", "features"})
    made_with = {**asked, "plan": {**asked["plan"], **planned}, "seed": job.seed}
    made_with["measure"] = measure_of(job.plan).column
    tracking = Tracking(wanted.track, name_parameters(made_with))
    how: dict[str, Any] = {"report": watch.report, "should_stop": watch.should_stop}
    return fit(job, say=watch.say, tracking=tracking, **how)


def _draw_curves(run: RunFolder, watch: Watch) -> None:
    """A picture of loss, rate and Dice, where there is something to draw with."""
    try:
        draw_curves(run.path / "history.csv", run.path / "curves.png")
    except MissingExtra as missing:
        watch.say(f"No picture of the curves: {missing}")


def _calibrate(
    run: RunFolder,
    held_out: Sequence[Case],
    trained: Trained,
    job: Job,
    wanted: Wanted,
    watch: Watch,
) -> Calibration | None:
    """Looks at held-out cases again, harder and less hard; its time is no part of the budget."""
    if not held_out:
        return None
    started, most_s = time.monotonic(), SHARE * trained.seconds
    watch.say(f"Calibrating --fast and --best: {most_s:.0f} s, or one held-out case, at most.")
    found = calibrate_run(
        run.path,
        model_file.load_model(run.path, device=job.device),
        held_out,
        mirror=job.settings.augmentation.mirror,
        most_s=most_s,
        accept=wanted.accept,
        counted=watch.count,
    )
    run.write_record({"calibration_s": round(time.monotonic() - started, 2)})
    return found


def _split(dataset: Dataset, wanted: Wanted) -> Split:
    if wanted.split is not None:
        return wanted.split
    if wanted.splits is not None:
        return read_splits(wanted.splits, dataset.cases, wanted.fold or 0)
    return split_cases(dataset.cases, fold=wanted.fold, seed=wanted.seed)


def _keep_model(
    run: RunFolder, trained: Trained, job: Job, recipe: Recipe, fingerprint: Fingerprint
) -> None:
    scores = {name: None if s != s else s for name, s in trained.score.each.items()}
    of_values = job.plan.targets is not None
    model_file.save_model(
        run.path / "model",
        trained.weights,
        name=recipe.name,
        plan=job.plan,
        fingerprint=fingerprint,
        training=model_file.Training(
            cases=len(job.train),
            steps=trained.steps,
            seconds=trained.seconds,
            seed=job.seed,
            validation_dice={} if of_values else scores,
            validation_psnr_db=scores if of_values else {},
            held_out=len(job.validation),
            scored=trained.score.cases,
        ),
        licence=recipe.licence,
        intended_use=recipe.intended_use,
    )


def once(findings: Collection[Finding]) -> tuple[Finding, ...]:
    """The findings, each once: a case is read for the plan and again to be prepared."""
    seen = {(f.code, f.case, f.file, f.message): f for f in findings}
    return tuple(seen.values())


def _facts(trained: Trained, job: Job, findings: Collection[Finding]) -> dict[str, Any]:
    return {
        "steps": trained.steps,
        "budget_spent_s": round(trained.seconds, 2),
        "step_s": round(trained.step_s, 4),
        "drawing_share": round(trained.drawing_share, 4),
        "device": f"{job.device.type}, {name_of_device(job.device)}",
        "arithmetic": str(training_dtype(job.device)).removeprefix("torch."),
        "processes": job.processes.count,
        "threads": torch.get_num_threads(),
        "notes": list(trained.notes),
        "findings": as_data(findings),
    }
