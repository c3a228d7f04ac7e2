"""What a training run needs before its first step: its plan, and its cases prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from volunet.api.asked import Wanted, Watch
from volunet.api.beginning import check_beginning, refuse_to_mix_sides
from volunet.api.planning import plan_for, survey_of
from volunet.api.run_folder import RunFolder
from volunet.api.starting import Starting
from volunet.data.cache import Prepared, PreparedCases
from volunet.data.cases import Dataset
from volunet.data.content import sums_of_images
from volunet.data.occurrence import find_untrained
from volunet.data.splits import Split
from volunet.data.survey import none_left
from volunet.data.twins import find_twins
from volunet.errors import ConfigError
from volunet.findings import Finding, as_data, refuse_if_needed
from volunet.io.user_cache import cache_folder
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.machine import find_device
from volunet.planning.memory import check_learnable
from volunet.planning.plan import Plan
from volunet.recipe import Recipe
from volunet.space.labels import Labels
from volunet.training.job import Job

MEANING = ("structures", "pairs", "regions", "ignore")
"""Fields of labels that decide what is learnt."""


def plan_run(
    run: RunFolder,
    dataset: Dataset,
    split: Split,
    asked: Mapping[str, Any],
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> tuple[Plan, Fingerprint, tuple[Finding, ...]]:
    """The plan in the run's folder (a person may have put it there), or the one the rules make.

    Args:
        asked: what the run is made from, but for the plan.

    Raises:
        ConfigError: a plan that lies there is for other channels or labels, or nothing can be
            learnt by it; the model to start from does not fit the dataset or the recipe; left would
            be learnt for right; or there is nothing that a setting of the start, the loss or the
            optimiser is about. The folder is as it was, so that the mended command can begin in it.
        ModelError: weights to begin with do not fit the network.
    """
    assert dataset.labels is not None, "open_dataset declares labels"
    if not run.begun:
        refuse_to_mix_sides(dataset.labels, recipe)
    kept, fingerprint = wanted.planned or run.read_planned(asked)
    if kept is not None:
        _check_fits(kept, dataset, dataset.labels)
        check_learnable(kept)
        check_beginning(run, recipe, wanted, kept)
        if fingerprint is not None:
            if wanted.planned is not None:
                run.write_plan(kept, fingerprint, asked, by_rules=True)
            return kept, fingerprint, run.surveyed
        watch.say(f"The plan is the one in {run.path / 'plan.json'}.{_unheard(recipe, kept)}")
    if wanted.start is not None:
        recipe = _following(Starting(wanted.start), recipe, dataset, watch)
    cases = [dataset.case(case_id) for case_id in split.train]
    how: dict[str, Any] = {"accept": wanted.accept, "counted": watch.counted}
    if kept is None:
        planned = plan_for(dataset, cases, recipe, device=wanted.device, **how)
        watch.say(f"The network sees {planned.slices.reason}.")
        plan, seen = planned.plan, planned.survey
    else:
        plan, seen = kept, survey_of(dataset, cases, **how)
    check_beginning(run, recipe, wanted, plan)
    run.write_plan(plan, seen.fingerprint, asked, by_rules=kept is None)
    run.write_record({"surveyed": as_data(seen.findings)})
    return plan, seen.fingerprint, seen.findings


def _following(starting: Starting, recipe: Recipe, dataset: Dataset, watch: Watch) -> Recipe:
    """The recipe with the plan of the model to start from, where it says nothing itself."""
    followed = starting.recipe_for(
        recipe, dataset.channels, labels=dataset.labels, targets=dataset.targets
    )
    watch.say(f"Starting from {starting}.")
    return followed


def _unheard(recipe: Recipe, kept: Plan) -> str:
    """The keys of the recipe that a plan that lies there says otherwise, as a sentence."""
    said, wanted = kept.model_dump(mode="json"), to_jsonable_python(recipe.plan)
    other = [key for key, value in wanted.items() if _says_otherwise(value, said[key])]
    told = ", ".join(f"plan.{key}" for key in other)
    return f" It says otherwise than the recipe, which does not count: {told}." if other else ""


def _says_otherwise(wanted: Any, said: Any) -> bool:
    """Whether two JSON values differ in what the first one says."""
    if isinstance(wanted, dict) and isinstance(said, dict):
        return any(_says_otherwise(value, said.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(said, list) and len(wanted) == len(said):
        return any(map(_says_otherwise, wanted, said))
    return bool(wanted != said)


def _check_fits(plan: Plan, dataset: Dataset, labels: Labels) -> None:
    for what, planned, found in (
        ("channels", plan.channels, dataset.channels),
        *((f"labels.{n}", getattr(plan.labels, n), getattr(labels, n)) for n in MEANING),
        ("targets", plan.targets.names if plan.targets else (), dataset.targets),
    ):
        if planned != found:
            raise ConfigError(
                f"plan.json is for the {what} {planned}, and the dataset has {found}. Mend the "
                "plan, or take it out of the run's folder to have one made."
            )


def prepare_job(
    run: RunFolder,
    dataset: Dataset,
    split: Split,
    plan: Plan,
    recipe: Recipe,
    wanted: Wanted,
    watch: Watch,
) -> tuple[Job, tuple[Finding, ...]]:
    """The job of a run, its cases prepared now or earlier, and what was found about them.

    Raises:
        Refused: not one training case could be prepared, or the same image is on both sides of the
            split (SET-LEAK).
    """
    start = None if run.goes_on or wanted.start is None else Starting(wanted.start).start()
    cache = wanted.cache or cache_folder("prepared")
    watch.say(f"Prepared cases are kept in {cache}.")
    prepared = PreparedCases(cache, plan, accept=wanted.accept)
    prepared.check_room(dataset.case(name) for name in (*split.train, *split.validation))
    sides, findings = list[list[Prepared]](), list[Finding]()
    for ids in (split.train, split.validation):
        made = prepared.prepare_all(
            [dataset.case(case_id) for case_id in ids],
            progress=lambda a, b: watch.counted("preparing cases", a, b),
        )
        sides.append(list(made.ready))
        findings += made.findings
    findings += _find_untrained(sides[0], sides[1], plan.labels)
    if wanted.planned is None:  # else all folds were looked through before the first
        findings += refuse_twins(sides[0], sides[1], dataset, wanted)
    if not sides[0]:
        raise none_left("No case is left to train on.", findings)
    job = Job(
        plan=plan,
        settings=recipe.training,
        train=sides[0],
        validation=sides[1],
        budget=recipe.time,
        folder=run.path,
        device=find_device(wanted.device),
        seed=wanted.seed,
        start=start,
        encoder_weights=None if run.goes_on else wanted.encoder_weights,
    )
    return job, tuple(findings)


def _find_untrained(
    train: Sequence[Prepared], held_out: Sequence[Prepared], labels: Labels
) -> list[Finding]:
    """Structures that are held out and never learnt."""
    learnt, asked = (
        {labels.values[c - 1] for case in side for c in case.foreground}
        for side in (train, held_out)
    )
    return list(find_untrained(learnt, asked, labels))


def refuse_twins(
    train: Sequence[Prepared], held_out: Sequence[Prepared], dataset: Dataset, wanted: Wanted
) -> tuple[Finding, ...]:
    """Waived findings of images that are on both sides of a split in other files.

    Raises:
        Refused: there are such images, and nobody waived it.
    """
    ids = [case.case_id for case in (*train, *held_out)]
    contents = sums_of_images(dataset.case(case_id) for case_id in ids)
    return refuse_if_needed(find_twins(train, held_out, contents), wanted.accept)


def refuse_twins_of_all(
    dataset: Dataset, splits: Sequence[Split], plan: Plan, wanted: Wanted, watch: Watch
) -> list[Finding]:
    """Prepares all cases, and looks for such images in each split before hours are spent.

    Returns:
        Waived findings.

    Raises:
        Refused: there are some, and nobody waived it.
    """
    cases = PreparedCases(wanted.cache or cache_folder("prepared"), plan, accept=wanted.accept)
    everyone = sorted({name for split in splits for name in (*split.train, *split.validation)})
    made = cases.prepare_all(
        [dataset.case(case_id) for case_id in everyone],
        progress=lambda a, b: watch.counted("preparing cases", a, b),
    )
    ready, found = {case.case_id: case for case in made.ready}, list[Finding]()
    for split in splits:
        train, held_out = (
            [ready[n] for n in ids if n in ready] for ids in (split.train, split.validation)
        )
        found += refuse_twins(train, held_out, dataset, wanted)
    return found
