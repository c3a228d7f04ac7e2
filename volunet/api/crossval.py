"""Cross-validation: every case held out once, and the networks of all folds as one model.

Each fold is a run of its own in `fold_K/`, with the plan of all cases, and goes on where it stopped
like any run. Its held-out masks are scored together; they also choose how masks are tidied, and
what `--fast` and `--best` stand for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from volunet.api.asked import Wanted, Watch
from volunet.api.estimates import ValidatedValues, judge_estimates, keep_scores
from volunet.api.made_from import asked_of
from volunet.api.planning import open_dataset
from volunet.api.preparation import plan_run, refuse_twins_of_all
from volunet.api.run_folder import RunFolder
from volunet.api.starting import Starting
from volunet.api.training import TrainedRun, once, train
from volunet.api.validation import Validated, judge_masks, keep_validation
from volunet.cohort.lock import locked
from volunet.data.cases import Dataset
from volunet.data.content import sums_of_images
from volunet.data.splits import Split, find_leaks, find_unused, fold_splits
from volunet.errors import ConfigError
from volunet.findings import Finding, as_data, refuse_if_needed
from volunet.inference.calibration import Calibration, merge_calibrations
from volunet.io.atomic import write_bytes
from volunet.packaging.model_file import (
    Training,
    amend_model,
    load_weights,
    read_model_file,
    save_model,
)
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.recipe import Recipe
from volunet.training.checkpoint import can_go_on
from volunet.training.processes import launched
from volunet.training.tracking import check_trackers


@dataclass(frozen=True)
class CrossValidated:
    """A cross-validation that ended.

    Args:
        folder: of the whole; the ensemble lies in its `model/`.
        runs: one a fold.
        validated: scores of every held-out case by the fold that did not see it; None where all
            had ended before.
        findings: about the cases; refused cases were left out.
        calibration: what `--fast` and `--best` stand for.
    """

    folder: Path
    runs: tuple[TrainedRun, ...] = ()
    validated: Validated | ValidatedValues | None = None
    findings: tuple[Finding, ...] = ()
    calibration: Calibration | None = None

    @property
    def model(self) -> Path:
        """The folder of the ensemble."""
        return self.folder / "model"


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

    Args:
        dataset: a folder or a CSV of labelled cases.
        folder: of the whole; made where it is missing.
        recipe: how to train; its budget is shared out evenly.
        folds: how many; as many as `wanted.splits` or the cases' own folds have.
        wanted: seed, device and the like; its `fold` and `split` are not looked at.
        watch: who is told how it goes.

    Raises:
        ConfigError: the folds are not so many or share a held-out case, a setting does not fit, or
            the folder holds something that was started otherwise; or several processes do this.
        DatasetError, MissingExtra, Refused, Stopped, TrainingDiverged: as `train` has it.
    """
    if launched().several:
        raise ConfigError(
            "Folds are trained one after another by one process. Under torchrun train each fold by "
            "itself, with --fold."
        )
    recipe, wanted, watch = recipe or Recipe.default(), wanted or Wanted(), watch or Watch()
    check_trackers(wanted.track)
    with locked(Path(folder)):
        return _cross_validate(RunFolder(Path(folder)), dataset, recipe, folds, wanted, watch)


def _splits(dataset: Dataset, folds: int, wanted: Wanted) -> tuple[Split, ...]:
    """The folds, looked through for images on both sides before hours are spent on the first."""
    splits = fold_splits(dataset.cases, folds, path=wanted.splits, seed=wanted.seed)
    contents = sums_of_images(dataset.cases)
    for split in splits:
        refuse_if_needed(find_leaks(split, dataset.cases, contents), wanted.accept)
    return splits


def _cross_validate(
    run: RunFolder,
    dataset: Path | str,
    recipe: Recipe,
    folds: int,
    wanted: Wanted,
    watch: Watch,
) -> CrossValidated:
    opened = open_dataset(dataset, recipe, accept=wanted.accept, counted=watch.counted)
    splits = _splits(opened, folds, wanted)
    unused = find_unused(opened.cases, splits)
    everyone = {name for split in splits for name in (*split.train, *split.validation)}
    together = Split(train=tuple(sorted(everyone)), validation=())
    before = run.made_from if _all_go_on(run, len(splits)) else None
    asked, unreadable = asked_of(opened, together, recipe, wanted, before=before)
    made_from = {**asked, "folds": [json.loads(split.model_dump_json()) for split in splits]}
    run.check_readable(unreadable)
    run.check_unchanged(made_from)
    if run.finished:
        watch.say(f"{run.path} has ended already; its model is in {run.path / 'model'}.")
        return CrossValidated(run.path, findings=run.findings)
    if before is None:
        _refuse_learnt(opened, splits, asked["images"], wanted)
    plan, fingerprint, found = plan_run(run, opened, together, made_from, recipe, wanted, watch)
    made_from["plan"] = plan.model_dump(mode="json")
    run.check_unchanged(made_from)
    twins = refuse_twins_of_all(opened, splits, plan, wanted, watch)
    run.write_splits(json.dumps(made_from["folds"], indent=2))
    run.write_record({"status": "running", "made_from": made_from})
    runs = _train_folds(run, dataset, splits, (plan, fingerprint), recipe, wanted, watch)
    _unite(run, runs, plan, fingerprint, recipe, wanted.seed)
    validated = _gather(run, runs, splits, opened, recipe, wanted, watch)
    known = [read_model_file(done.model).calibration for done in runs]
    calibration = merge_calibrations([c for c in known if c is not None], networks=folds)
    amend_model(run.path, calibration=calibration)
    told = (unused, unreadable, found, twins, validated.findings, *(r.findings for r in runs))
    seen = once([finding for some in told for finding in some])
    run.write_record({"status": "finished", "findings": as_data(seen)})
    return CrossValidated(run.path, tuple(runs), validated, seen, calibration)


def _all_go_on(run: RunFolder, folds: int) -> bool:
    """Whether each fold has weights of its own to go on from."""
    return all(can_go_on(run.path / f"fold_{fold}" / "checkpoints") for fold in range(folds))


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
    splits: Sequence[Split],
    planned: tuple[Plan, Fingerprint],
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> list[TrainedRun]:
    """A run a fold, one after another, each with its share of the budget."""
    each, runs = recipe.shared_among(len(splits)), list[TrainedRun]()
    for fold, split in enumerate(splits):
        watch.say(f"Fold {fold} of {len(splits)}: {each.time}.")
        place = RunFolder(run.path / f"fold_{fold}")
        alone = replace(wanted, split=split, planned=planned)  # one that began checks it
        runs.append(train(dataset, place.path, each, wanted=alone, watch=watch))
    return runs


def _unite(
    run: RunFolder,
    runs: Sequence[TrainedRun],
    plan: Plan,
    fingerprint: Fingerprint,
    recipe: Recipe,
    seed: int,
) -> None:
    """The networks of all folds as one model."""
    models = [read_model_file(done.model) for done in runs]
    first, *others = (
        load_weights(done.model, model)[0] for done, model in zip(runs, models, strict=True)
    )
    save_model(
        run.path / "model",
        first,
        name=recipe.name,
        plan=plan,
        fingerprint=fingerprint,
        training=Training(
            cases=len(fingerprint.cases),
            steps=sum(model.training.steps or 0 for model in models),
            seconds=sum(model.training.seconds or 0.0 for model in models),
            seed=seed,
            validation_dice={},
        ),
        licence=recipe.licence,
        intended_use=recipe.intended_use,
        others=others,
    )


def _gather(
    run: RunFolder,
    runs: Sequence[TrainedRun],
    splits: Sequence[Split],
    dataset: Dataset,
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> Validated | ValidatedValues:
    """The held-out masks, or estimates, of all folds in one place, scored together."""
    out = run.path / "validation"
    out.mkdir(exist_ok=True)
    cases = []
    for done, split in zip(runs, splits, strict=True):
        for case_id in split.validation:
            mask = done.folder / "validation" / f"{case_id}.nii.gz"
            if mask.is_file():
                write_bytes(out / mask.name, mask.read_bytes())
            cases.append(dataset.case(case_id))
    if not cases:
        raise ConfigError("No fold holds out a case, so there is nothing to validate on.")
    cases.sort(key=lambda case: case.case_id)
    how: dict[str, Any] = {"accept": wanted.accept, "counted": watch.count}
    if dataset.targets:
        estimated = judge_estimates(run.path, cases, **how)
        keep_scores(run.path, estimated)
        return estimated
    validated = judge_masks(run.path, cases, tolerance_mm=recipe.nsd_tolerance_mm, **how)
    keep_validation(run.path, validated)
    return validated
