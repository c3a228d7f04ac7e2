"""`volunet train`: from a dataset to a model, or on from where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volunet.cli.exits import SOME_NOT_OK, Stop, exits
from volunet.cli.info import tell_findings
from volunet.cli.options import Accept, Change, Device, Json, Quiet, RecipeFile, Seed, Verbose
from volunet.cli.plan import read_recipe
from volunet.cli.run_table import RunTable
from volunet.cli.speaker import Speaker
from volunet.cli.value_table import tell_values

if TYPE_CHECKING:
    from volunet.api.asked import Wanted, Watch
    from volunet.api.crossval import CrossValidated
    from volunet.api.estimates import ValidatedValues
    from volunet.api.training import TrainedRun
    from volunet.api.validation import Validated
    from volunet.recipe import Recipe
    from volunet.training.fit import Trained
    from volunet.training.handlers import Progress


Budget = Annotated[
    str | None,
    typer.Option(help="Training and its validation: 1h30m or 5000steps; 20m by default."),
]
Fold = Annotated[
    int | None,
    typer.Option(help="Fold of five, or of --splits, to hold out; with --folds the one to train."),
]
Folds = Annotated[
    int | None, typer.Option(help="Cross-validation in so many folds; the budget is that of all.")
]
Splits = Annotated[
    Path | None, typer.Option(help="splits_final.json: a list of train and val ids.")
]
From = Annotated[
    Path | None,
    typer.Option("--from", help="A model to start from, such as an earlier run's folder."),
]

Track = Annotated[
    list[str] | None,
    typer.Option(help="tensorboard or mlflow, which follow the run; may be given several times."),
]
EncoderWeights = Annotated[
    Path | None,
    typer.Option(help="A file of published weights for the encoder of plan.family encoder."),
]


def train(
    dataset: Annotated[Path, typer.Argument(help="A folder or a CSV of labelled cases.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")],
    recipe: RecipeFile = None,
    change: Change = None,
    budget: Budget = None,
    fold: Fold = None,
    folds: Folds = None,
    splits: Splits = None,
    start: From = None,
    encoder_weights: EncoderWeights = None,
    track: Track = None,
    device: Device = None,
    seed: Seed = 0,
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Train a model, or go on where the same command stopped."""
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        stop = Stop()
        from volunet.api.asked import Wanted
        from volunet.training.processes import launched

        changes = [*(change or []), *([f'budget="{budget}"'] if budget else [])]
        wanted = Wanted(
            fold=fold,
            splits=splits,
            seed=seed,
            device=device,
            accept=tuple(accept or ()),
            start=start,
            encoder_weights=encoder_weights,
            track=tuple(track or ()),
        )
        watch = watch_for(speaker, stop, speaks=launched().first)
        run, trained = run_all(dataset, output, read_recipe(recipe, changes), folds, wanted, watch)
        tell_end(speaker, run, trained, speaks=launched().first)


def tell_end(
    speaker: Speaker, run: TrainedRun | CrossValidated, trained: Trained | None, *, speaks: bool
) -> None:
    """What a run ended with, and its exit code where some cases were refused."""
    if speaks:
        tell_run(speaker, run, trained)
    if any(found.refuses for found in run.findings):
        raise typer.Exit(SOME_NOT_OK)


def run_all(
    dataset: Path, output: Path, recipe: Recipe, folds: int | None, wanted: Wanted, watch: Watch
) -> tuple[TrainedRun | CrossValidated, Trained | None]:
    """One run, or one a fold; and what the steps of the one came to, where they were taken now."""
    from volunet.api.crossval import cross_validate
    from volunet.api.training import train as train_model
    from volunet.training.allocator import keep_freed_memory

    keep_freed_memory()
    if folds is None:
        run = train_model(dataset, output, recipe, wanted=wanted, watch=watch)
        return run, run.trained
    return cross_validate(dataset, output, recipe, folds=folds, wanted=wanted, watch=watch), None


def watch_for(speaker: Speaker, stop: Callable[[], bool], *, speaks: bool = True) -> Watch:
    """Tells how a run goes, and heeds a wish to stop between cases as well as between steps.

    Args:
        speaks: whether this process is the one that speaks, of several that train together.
    """
    from volunet.api.asked import Watch
    from volunet.errors import Stopped

    if not speaks:
        return Watch(should_stop=stop)

    def counted(what: str, done: int, total: int) -> None:
        speaker.counted(what, done, total)
        if stop():
            raise Stopped(f"Stopped while {what}, {done} of {total}; the same command goes on.")

    table = RunTable()

    def report(progress: Progress) -> None:
        nonlocal table
        if not speaker.draws:
            tell_progress(speaker, progress)
            return
        if not speaker.drawing:
            table = RunTable()
        speaker.draw(table.after(progress))

    return Watch(speaker.say, counted, report, stop)


def tell_progress(speaker: Speaker, progress: Progress) -> None:
    """A line of the history, as it comes, where there is no terminal to draw on."""
    row = progress.row
    for note in progress.notes:
        speaker.say(note)
    if progress.score is not None:
        named = ", ".join(f"{n} {d:.3f}" for n, d in progress.score.each.items())
        part = f" ({progress.score.part})" if progress.score.part else ""
        said = f"{progress.score.measure.said}{part}"
        speaker.say(f"step {row.step}, {row.seconds:.0f} s: validation {said} {named}")
        return
    text = (
        f"step {row.step}, {row.seconds:.0f} s of {progress.budget}: "
        f"loss {row.loss or 0:.3f}, rate {row.learning_rate:.2g}"
    )
    speaker.status(text, progress.progress)


def tell_run(speaker: Speaker, run: TrainedRun | CrossValidated, trained: Trained | None) -> None:
    """What a run, or a cross-validation, ended with.

    Args:
        trained: what its steps came to, where they were taken now.
    """
    result: dict[str, Any] = {"model": str(run.model)}
    if missing := getattr(run, "missing", ()):
        result["missing_folds"] = list(missing)
    if run.findings:
        tell_findings(speaker, run.findings)
    if trained is not None:
        t = trained
        result |= {"steps": t.steps, "budget_spent_s": t.seconds, "step_s": t.step_s}
        speaker.say(
            f"{t.steps} steps in {t.seconds:.1f} s, {t.step_s:.3f} s a step, "
            f"{100 * t.drawing_share:.1f} % of it for drawing and changing patches."
        )
    if run.validated is not None:
        result |= tell_validated(speaker, run.validated)
    if run.calibration is not None:
        from volunet.inference.calibration import PRESETS

        result["calibration"] = run.calibration.model_dump(mode="json")
        for preset in PRESETS:
            speaker.say(run.calibration.say(preset))
    speaker.give(result)
    speaker.show(f"The model is in {run.model}.")


def tell_validated(speaker: Speaker, validated: Validated | ValidatedValues) -> dict[str, Any]:
    """The scores of held-out cases; what is told of them to scripts."""
    from volunet.api.validation import Validated

    if not isinstance(validated, Validated):
        tell_values(speaker, "held-out cases", validated.summary)
        return {"validation": validated.summary}
    tell_summary(speaker, "held-out cases", validated.summary)
    speaker.say(str(validated.choice))
    tidying = {name: str(steps) for name, steps in validated.choice.tidy.structures.items()}
    return {"validation": validated.summary, "tidying": tidying}


def tell_summary(speaker: Speaker, title: str, summary: dict[str, Any]) -> None:
    """A table of mean scores by structure."""
    measures = ("dice", "iou", "hd95_mm", "nsd", "assd_mm")

    def cell(row: dict[str, Any], measure: str) -> str:
        mean = row.get(measure) or {}
        value, interval = mean.get("mean"), mean.get("interval")
        if value is None:
            return "-"
        if measure == "dice" and interval and None not in interval:
            return f"{value:.3f} ({interval[0]:.2f}-{interval[1]:.2f})"
        return f"{value:.3f}"

    structures = {
        **summary["labels"],
        **summary.get("regions", {}),
        _mean_of(summary): summary["mean_over_labels"],
    }
    rows = [(name, *(cell(row, m) for m in measures)) for name, row in structures.items()]
    speaker.table(title, ("structure", *measures), rows, numbers=True)


def _mean_of(summary: dict[str, Any]) -> str:
    """What the mean over structures, or over regions, is called."""
    return "mean of regions" if {*summary["averaged"]} - {*summary["labels"]} else "mean"
