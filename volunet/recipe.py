"""One experiment as data: what is wanted of the plan, how to train, and what the model is for.

A recipe is a TOML file of a page. What it leaves out is chosen by the rules of `volunet.planning`
or stands in the defaults of the settings that it groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_core import to_jsonable_python

from volunet.config import Settings, build, override, read_values
from volunet.planning.make import check_wanted
from volunet.space.labels import Labels
from volunet.space.labels_file import OF_CASES, labels_from
from volunet.training.budget import Budget, read_budget
from volunet.training.settings import Training


class Recipe(Settings):
    """One experiment.

    Args:
        name: of the model that comes out.
        description: one sentence for people.
        channels: names of the image's channels, instead of the dataset's.
        labels: what label values mean, instead of what the dataset says.
        targets: names of the images to estimate, instead of the dataset's, where its cases have
            such in place of labels.
        plan: fields of `Plan` that are wanted so; the rules choose the others.
        training: how to train.
        budget: how long to train, such as "20m" or "5000steps".
        nsd_tolerance_mm: of the surface Dice in the validation's table.
        licence: of the weights.
        intended_use: what the model is for.
    """

    name: str = "model"
    description: str = ""
    channels: tuple[str, ...] | None = None
    labels: Labels | None = None
    targets: tuple[str, ...] | None = None
    plan: dict[str, Any] = Field(default_factory=dict)
    training: Training = Training()
    budget: str = "20m"
    nsd_tolerance_mm: float = Field(default=1.0, ge=0)
    licence: str = ""
    intended_use: str = ""

    @model_validator(mode="before")
    @classmethod
    def _read_labels(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("labels"), dict):
            if of_cases := sorted(OF_CASES & set(values["labels"])):
                raise ValueError(
                    f"[labels] says what label values mean; {of_cases} are said of cases. Put them "
                    "into the labels.json beside these; channels and targets also stand at the "
                    "top of a recipe, and what was drawn in a table's column labelled"
                )
            return {**values, "labels": labels_from(values["labels"], at="labels")}
        return values

    @field_validator("plan")
    @classmethod
    def _know_the_plan(cls, plan: dict[str, Any]) -> dict[str, Any]:
        check_wanted(plan)
        return dict(to_jsonable_python(plan))

    @field_validator("targets")
    @classmethod
    def _tell_targets_apart(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (not names or len(set(names)) < len(names)):
            raise ValueError("targets need a name each, and no two the same")
        return names

    @field_validator("budget")
    @classmethod
    def _know_the_budget(cls, budget: str) -> str:
        read_budget(budget)
        return budget

    @property
    def time(self) -> Budget:
        """The budget as seconds or steps."""
        return read_budget(self.budget)

    def shared_among(self, runs: int) -> Recipe:
        """The recipe of one of so many runs that keep this recipe's budget all together."""
        time = self.time
        if time.steps is not None:
            share = f"{max(time.steps // runs, 1)}steps"
        else:
            assert time.seconds is not None
            share = f"{time.seconds / runs:.2f}s"
        return self.model_copy(update={"budget": share})

    @classmethod
    def read(cls, path: Path | str, *, changes: Iterable[str] = ()) -> Recipe:
        """The recipe in a file, with "key=value" changes applied.

        Raises:
            ConfigError: the file cannot be read, or says something that recipes do not know.
        """
        path = Path(path)
        values, changes = read_values(path), tuple(changes)
        build(cls, values, at=path.name)  # what is wrong with it is not put down to the changes
        return build(cls, override(values, changes), at=f"{path.name} as changed")

    @classmethod
    def default(cls, *, changes: Iterable[str] = ()) -> Recipe:
        """The recipe that leaves everything to the rules, with "key=value" changes applied."""
        return build(cls, override({}, changes), at="recipe")
