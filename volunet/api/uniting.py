"""The folds of a cross-validation as one: their networks one model, their held-out masks scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from volunet.api.asked import Wanted, Watch
from volunet.api.estimates import ValidatedValues, judge_estimates, keep_scores
from volunet.api.run_folder import RunFolder
from volunet.api.training import TrainedRun
from volunet.api.validation import Validated, judge_masks, keep_validation
from volunet.data.cases import Dataset
from volunet.data.splits import Split
from volunet.errors import ConfigError
from volunet.io.atomic import write_bytes
from volunet.packaging.model_file import Training, load_weights, read_model_file, save_model
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.recipe import Recipe


def unite(
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


def gather(
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
