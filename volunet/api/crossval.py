"""Cross-validation: every case held out once, and the networks of all folds as one model.

Each fold is a run of its own in `fold_K/`, with the plan of all cases, and goes on where it stopped
like any run. Its held-out masks are scored together; they also choose how masks are tidied, and
what `--fast` and `--best` stand for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from volunet.api.asked import Wanted, Watch
from volunet.api.estimates import ValidatedValues
from volunet.api.made_from import asked_of
from volunet.api.planning import open_dataset
from volunet.api.preparation import plan_run, refuse_twins_of_all
from volunet.api.run_folder import RunFolder
from volunet.api.starting import Starting
from volunet.api.training import TrainedRun, once, train
from volunet.api.uniting import gather, unite
from volunet.api.validation import Validated
from volunet.cohort.lock import locked_in_turn
from volunet.data.cases import Dataset
from volunet.data.content import sums_of_images
from volunet.data.splits import Split, find_leaks, find_unused, fold_numbers, fold_splits
from volunet.errors import ConfigError, InUseError, Stopped
from volunet.findings import Finding, as_data, refuse_if_needed
from volunet.inference.calibration import Calibration, merge_calibrations
from volunet.packaging.model_file import amend_model, read_model_file
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.recipe import Recipe
from volunet.training.processes import launched
from volunet.training.tracking import check_trackers


@dataclass(frozen=True)
class CrossValidated:
    """A cross-validation that ended.

    Args:
        folder: of the whole; the ensemble lies in its `model/`.
        runs: one a fold; the one that was trained last, where others are still missing.
        validated: scores of every held-out case by the fold that did not see it, or of that one
            fold's; None where all had ended before.
        findings: about the cases; refused cases were left out.
        calibration: what `--fast` and `--best` stand for.
        missing: folds that have not ended, so that there is no ensemble yet.
    """

    folder: Path
    runs: tuple[TrainedRun, ...] = ()
    validated: Validated | ValidatedValues | None = None
    findings: tuple[Finding, ...] = ()
    calibration: Calibration | None = None
    missing: tuple[int, ...] = ()

    @property
    def model(self) -> Path:
        """The folder of the ensemble; of the one network that was trained, where some miss."""
        return self.runs[0].model if self.missing else self.folder / "model"


@dataclass(frozen=True)
class Shared:
    """What all folds are trained with, and what was found about their cases."""

    dataset: Dataset
    splits: dict[int, Split]
    plan: Plan
    fingerprint: Fingerprint
    findings: tuple[Finding, ...]

    def made_from(self, split: Split, recipe: Recipe) -> dict[str, Any]:
        """What a fold is made from, as far as it must be told from another's."""
        parts = {"plan": self.plan, "split": split, "recipe": recipe}
        return {name: part.model_dump(mode="json") for name, part in parts.items()}


def cross_validate(
    dataset: Path | str,
    folder: Path | str,
    recipe: Recipe | None = None,
    *,
    folds: int = 5,
    wanted: Wanted | None = None,
    watch: Watch | None = None,
) -> CrossValidated:
    """Trains a network a fold within the recipe's budget, all together, or goes on doing so.

    Folds may be trained by several processes at once, here or on machines that share the folder,
    each told its `wanted.fold`: the first plans for all, and the last one unites them.

    Args:
        dataset: a folder or a CSV of labelled cases.
        folder: of the whole; made where it is missing.
        recipe: how to train; its budget is shared out evenly.
        folds: how many; as many as `wanted.splits` or the cases' own folds have.
        wanted: seed, device and the like; the one `fold` to train, None for all of them. Its
            `split` is not looked at.
        watch: who is told how it goes.

    Raises:
        ConfigError: the folds are not so many or share a held-out case, a setting does not fit, the
            folder holds something that was started otherwise, or another process trains the same
            fold; or several processes that train together do this.
        DatasetError, MissingExtra, Refused, Stopped, TrainingDiverged: as `train` has it.
    """
    if launched().several:
        raise ConfigError(
            "A fold of a cross-validation is trained by one process. Without torchrun give each "
            "process a fold, with --folds and --fold; they can run at once."
        )
    recipe, wanted, watch = recipe or Recipe.default(), wanted or Wanted(), watch or Watch()
    check_trackers(wanted.track)
    opened = open_dataset(dataset, recipe, accept=wanted.accept, counted=watch.counted)
    splits = _splits(opened, folds, wanted)
    asked = _asked(tuple(splits), wanted)
    run = RunFolder(Path(folder), folds=[_place(Path(folder), fold) for fold in asked])
    waits = _waiting(watch)
    with locked_in_turn(run.path, waits) as lock:
        shared = _plan_folds(run, opened, splits, recipe, wanted, watch.while_held(lock))
    if shared is None:
        return CrossValidated(run.path, findings=run.findings)
    trained = _train_folds(run, dataset, shared, asked, recipe, wanted, watch)
    with locked_in_turn(run.path, waits) as lock:
        return _end(run, shared, trained, recipe, wanted, watch.while_held(lock))


def _asked(numbers: tuple[int, ...], wanted: Wanted) -> tuple[int, ...]:
    """The numbers of the folds to train."""
    if wanted.fold is None:
        return numbers
    if wanted.fold not in numbers:
        raise ConfigError(f"The folds are {', '.join(map(str, numbers))}; none is {wanted.fold}.")
    return (wanted.fold,)


def _waiting(watch: Watch) -> Callable[[str], None]:
    """Says once who is waited for, and stops where that is asked for."""
    said = set[str]()

    def waits(why: str) -> None:
        if why not in said:
            said.add(why)
            watch.say(f"Waiting, as folds begin and end one at a time: {why}.")
        if watch.should_stop():
            raise Stopped("Stopped while waiting for another fold; the same command goes on.")

    return waits


def _splits(dataset: Dataset, folds: int, wanted: Wanted) -> dict[int, Split]:
    """The folds by number, looked through for images on both sides before any is trained."""
    splits = fold_splits(dataset.cases, folds, path=wanted.splits, seed=wanted.seed)
    contents = sums_of_images(dataset.cases)
    for split in splits:
        refuse_if_needed(find_leaks(split, dataset.cases, contents), wanted.accept)
    return dict(zip(fold_numbers(dataset.cases, folds, path=wanted.splits), splits, strict=True))


def _plan_folds(
    run: RunFolder,
    opened: Dataset,
    numbered: dict[int, Split],
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> Shared | None:
    """What all folds share, looked through before the first is trained; None where all ended."""
    splits = tuple(numbered.values())
    unused = find_unused(opened.cases, splits)
    everyone = {name for split in splits for name in (*split.train, *split.validation)}
    together = Split(train=tuple(sorted(everyone)), validation=())
    before = run.goes_on_from
    asked, unreadable = asked_of(opened, together, recipe, wanted, before=before)
    made_from = {**asked, "folds": [json.loads(split.model_dump_json()) for split in splits]}
    run.check_readable(unreadable)
    run.check_unchanged(made_from)
    if run.finished:
        watch.say(f"{run.path} has ended already; its model is in {run.path / 'model'}.")
        return None
    if before is None:
        _refuse_learnt(opened, splits, asked["images"], wanted)
    plan, fingerprint, _ = plan_run(run, opened, together, made_from, recipe, wanted, watch)
    made_from["plan"] = plan.model_dump(mode="json")
    run.check_unchanged(made_from)
    if run.record.get("made_from") != json.loads(json.dumps(made_from)):  # else it was done before
        run.keep_found(refuse_twins_of_all(opened, splits, plan, wanted, watch))
        run.write_splits(json.dumps(made_from["folds"], indent=2))
        run.write_record({"status": "running", "made_from": made_from})
    return Shared(opened, numbered, plan, fingerprint, (*unused, *unreadable, *run.surveyed))


def _refuse_learnt(
    dataset: Dataset, splits: Sequence[Split], images: Mapping[str, str], wanted: Wanted
) -> None:
    """Raise Refused where the model to start from has learnt from what a fold holds out."""
    if wanted.start is not None:
        held_out = [dataset.case(name) for split in splits for name in split.validation]
        found = Starting(wanted.start).learnt.find_in(held_out, images)
        refuse_if_needed(found, wanted.accept)


def _train_folds(
    run: RunFolder,
    dataset: Path | str,
    shared: Shared,
    asked: Sequence[int],
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> dict[int, TrainedRun]:
    """A run a fold, one after another, each with its share of the budget.

    Raises:
        InUseError: other processes train all that are asked for.
    """
    each, runs = recipe.shared_among(len(shared.splits)), dict[int, TrainedRun]()
    alone = replace(wanted, planned=(shared.plan, shared.fingerprint))
    for fold in asked:
        watch.say(f"Fold {fold} of {', '.join(map(str, shared.splits))}: {each.time}.")
        mine = replace(alone, split=shared.splits[fold])  # one that began checks it
        try:
            runs[fold] = train(dataset, _place(run.path, fold), each, wanted=mine, watch=watch)
        except InUseError as use:
            if not runs and fold == asked[-1]:
                raise
            watch.say(f"It is left to whoever trains it: {use.who}.")
    return runs


def _end(
    run: RunFolder,
    shared: Shared,
    trained: Mapping[int, TrainedRun],
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> CrossValidated:
    """The model and the scores of all folds, where all have ended, here or elsewhere."""
    if run.finished:  # by the process of another fold
        return CrossValidated(run.path, findings=run.findings)
    each = recipe.shared_among(len(shared.splits))
    ended = {
        fold: trained.get(fold) or _ended(_place(run.path, fold), shared.made_from(split, each))
        for fold, split in shared.splits.items()
    }
    runs = tuple(each for each in ended.values() if each is not None)
    if missing := tuple(fold for fold, each in ended.items() if each is None):
        *_, last = trained.values()
        left = ", ".join(map(str, missing))
        watch.say(f"Still to be trained: fold {left}. The last to end makes one model of them all.")
        known = (last.validated, last.findings, last.calibration)
        return CrossValidated(run.path, (last,), *known, missing)
    unite(run, runs, shared.plan, shared.fingerprint, recipe, wanted.seed)
    splits = tuple(shared.splits.values())
    validated = gather(run, runs, splits, shared.dataset, recipe, wanted, watch)
    each_own = [read_model_file(done.model).calibration for done in runs]
    calibration = merge_calibrations([c for c in each_own if c is not None], networks=len(runs))
    amend_model(run.path, calibration=calibration)
    told = (shared.findings, validated.findings, *(done.findings for done in runs))
    seen = once([finding for some in told for finding in some])
    run.write_record({"status": "finished", "findings": as_data(seen)})
    return CrossValidated(run.path, runs, validated, seen, calibration)


def _place(folder: Path, fold: int) -> Path:
    return folder / f"fold_{fold}"


def _ended(path: Path, made_from: Mapping[str, Any]) -> TrainedRun | None:
    """A fold that ended in another process; None where it has not.

    Raises:
        ConfigError: it was made from something else.
    """
    if not path.is_dir():
        return None
    place = RunFolder(path)
    place.check_unchanged(made_from)
    return TrainedRun(place.path, findings=place.findings) if place.finished else None
