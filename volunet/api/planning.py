"""From a dataset to a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volunet.data.cases import Case, Dataset
from volunet.data.check import declare_labels
from volunet.data.layouts import find_dataset
from volunet.data.survey import Survey, survey
from volunet.errors import ConfigError
from volunet.findings import refuse_if_needed
from volunet.planning.machine import find_device, this_machine
from volunet.planning.make import explain_slices, make_plan
from volunet.planning.plan import Plan
from volunet.planning.rules import Slices
from volunet.recipe import Recipe
from volunet.training.losses.choose import count_bytes, loss_for

Counted = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Planned:
    """A plan and what it was made from.

    Args:
        slices: whether the network sees volumes or slices, and why.
    """

    plan: Plan
    dataset: Dataset
    survey: Survey
    slices: Slices


def quiet(what: str, done: int, total: int) -> None:
    """Counts for nobody."""


def open_dataset(
    path: Path | str, recipe: Recipe, *, accept: Collection[str] = (), counted: Counted = quiet
) -> Dataset:
    """The dataset at `path`, with the names and labels that the recipe gives, if any.

    Args:
        accept: codes of refusals to waive.
        counted: told what is done, how many of it, and of how many.

    Raises:
        ConfigError: the recipe is about targets, and the dataset about structures.
    """
    dataset = find_dataset(Path(path), labels=recipe.labels, accept=accept)
    dataset = declare_labels(
        dataset, accept=accept, progress=lambda a, b: counted("looking for labels", a, b)
    )
    if recipe.targets and not dataset.targets:
        raise ConfigError(
            f"The recipe estimates {list(recipe.targets)}, and the cases of {Path(path).name} have "
            "label maps. Give a dataset with targets/, or take targets out of the recipe."
        )
    wanted = recipe.channels or dataset.channels
    if moved_channels(wanted, dataset.channels):
        raise ConfigError(
            f"The recipe has the channels {list(wanted)}, and the dataset "
            f"{list(dataset.channels)}, in another order. Write them in the dataset's, or leave "
            "them out of the recipe."
        )
    return replace(
        dataset,
        channels=wanted,
        targets=recipe.targets or dataset.targets,
    )


def moved_channels(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    """Channels that both lists have in different places; none where they differ in length."""
    if len(wanted) != len(there):
        return []
    return [
        name for name, other in zip(wanted, there, strict=True) if name != other and name in there
    ]


def plan_for(
    dataset: Dataset,
    cases: Collection[Case],
    recipe: Recipe,
    *,
    device: str | None = None,
    accept: Collection[str] = (),
    counted: Counted = quiet,
) -> Planned:
    """The plan that the rules make from these cases of a dataset, for the machine at hand.

    Raises:
        Refused: none of the cases can be used.
        ConfigError: what the recipe wants does not fit together, or not the memory.
        Refused: the label maps together are in doubt (LBL-ALL-EMPTY).
    """
    assert dataset.labels is not None, "open_dataset declares labels"
    seen = survey_of(dataset, cases, accept=accept, counted=counted)
    machine = this_machine(find_device(device))
    made = make_plan(
        seen.fingerprint,
        dataset.channels,
        dataset.labels,
        machine,
        targets=dataset.targets,
        fixed=recipe.plan,
        loss_bytes=count_bytes(recipe.training.loss),
    )
    loss_for(made, recipe.training.loss)  # says what is wrong with it, before hours of work
    return Planned(made, dataset, seen, explain_slices(seen.fingerprint, recipe.plan))


def survey_of(
    dataset: Dataset,
    cases: Collection[Case],
    *,
    accept: Collection[str] = (),
    counted: Counted = quiet,
) -> Survey:
    """What is seen in these cases of a dataset.

    Raises:
        Refused: none of the cases can be used, or the label maps together are in doubt
            (LBL-ALL-EMPTY).
    """
    assert dataset.labels is not None, "open_dataset declares labels"
    seen = survey(
        tuple(cases),
        dataset.labels,
        len(dataset.channels),
        targets=len(dataset.targets),
        accept=accept,
        whole=len(cases) == len(dataset.cases),
        progress=lambda a, b: counted("looking at cases", a, b),
    )
    refuse_if_needed(seen.of_all)
    return seen


def plan(
    dataset: Path | str,
    recipe: Recipe | None = None,
    *,
    device: str | None = None,
    accept: Collection[str] = (),
) -> Plan:
    """What training will do with a dataset on this machine.

    It is made from all cases, as that of a cross-validation is. A run that holds cases out plans
    from the others, whose median spacing and shape may differ a little.

    Args:
        dataset: a folder or a CSV of labelled cases.
        recipe: what is wanted of the plan; by default the rules choose everything.
        device: "cpu", "cuda", "mps"; by default the best there is.
        accept: codes of refusals to waive.

    Raises:
        DatasetError: there is no such dataset.
        ConfigError: what the recipe wants does not fit together, or not the memory.
        Refused: the dataset is in doubt; the findings say why.
    """
    recipe = recipe or Recipe.default()
    opened = open_dataset(dataset, recipe, accept=accept)
    return plan_for(opened, opened.cases, recipe, device=device, accept=accept).plan
