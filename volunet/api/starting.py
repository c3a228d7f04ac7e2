"""What a run takes over from a model that it starts from: plan, network and weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from volunet.api.learnt import Learnt
from volunet.api.planning import moved_channels
from volunet.errors import ConfigError
from volunet.models.families import family_of, read_options
from volunet.models.layer_settings import LayerSettings
from volunet.models.spec import SHAPING
from volunet.packaging.model_file import ModelFile, load_weights, read_model_file
from volunet.packaging.model_place import find_model
from volunet.planning.from_nnunet import head_names, plan_fields, turn_weights
from volunet.planning.make import check_wanted
from volunet.planning.nnunet_plan import NnunetPlan
from volunet.recipe import Recipe
from volunet.space.labels import Labels
from volunet.training.begin import Start

NETWORK = (
    *("dimensions", "neighbours", "family", "options", "layers", "features", "strides", "kernels"),
    *("residual", "attention"),
)
"""Fields of a plan that its network is made of: weights fit no others."""
SEEN = ("spacing", "size", "respace", "patch", "interpolation", "overlap", "supervised_scales")
"""Fields that the network is used to, and that a recipe may still change."""
ESTIMATING = ("respace", "supervised_scales")
"""Fields that a network which estimates has to have otherwise."""
UNBOUNDED = 1e9
"""Beyond what scans hold."""


class Starting:
    """A model that a run starts from.

    Args:
        folder: the model, or a run that holds one.

    Raises:
        ModelError: there is no model, or it is damaged.
        ConfigError: it was imported from nnU-Net, and its plan is one that volunet's training has
            not.
    """

    def __init__(self, folder: Path) -> None:
        self.model: ModelFile = read_model_file(folder)
        self.folder = find_model(folder)
        plan = self.model.plan
        self._channels = plan.channels
        if isinstance(plan, NnunetPlan):
            self._told, self._heads = plan_fields(plan), head_names(plan)
        else:
            self._told, self._heads = plan.model_dump(mode="json"), plan.heads

    @property
    def learnt(self) -> Learnt:
        """What the model has learnt from, where it lies in its run."""
        return Learnt.in_run(self.folder.parent, self.model.name)

    @property
    def identity(self) -> str:
        """The SHA-256 of the weights that are taken."""
        return next(iter(self.model.weights.values()))

    def __str__(self) -> str:
        several = len(self.model.weights)
        part = f", the first network of {several}" if several > 1 else ""
        return f"{self.model.name} ({self.model.training}){part}"

    def recipe_for(
        self,
        recipe: Recipe,
        channels: tuple[str, ...],
        *,
        labels: Labels | None = None,
        targets: tuple[str, ...] = (),
    ) -> Recipe:
        """The recipe with the model's plan where it says nothing itself.

        Intensities are scaled as the model's were, where the channels have its names.

        Args:
            channels: of the dataset.
            labels: of the dataset: regions are learnt as the model learnt some, where they can be.
            targets: of the dataset: the network has one head for each of these, at the finest
                scale only, and nothing is clipped. How scans are seen is the model's where it
                estimates too.

        Raises:
            ConfigError: the dataset has other channels in number, or the same ones in other
                places, or the recipe wants another network.
        """
        if len(channels) != len(self._channels):
            raise ConfigError(
                f"{self.model.name} takes {len(self._channels)} channels "
                f"{list(self._channels)}, and the dataset has {list(channels)}. Start from a "
                "model of as many channels, or from none."
            )
        _refuse_other_places(channels, self._channels, self.model.name)
        _refuse_other_network(recipe.plan, self._told, self.model.name)
        heeds = family_of(self._told["family"]).heeds
        told = (*(f for f in NETWORK if f not in SHAPING or f in heeds), *SEEN)
        kept = {name: self._told[name] for name in told if self._told.get(name) is not None}
        # Sizes decide the spacing image by image; grids of their own have a usual one.
        if "size" in {*kept, *recipe.plan} or not kept.get("respace", True):
            kept.pop("spacing", None)
        if channels == self._channels:
            kept["intensities"] = self._told["intensities"]
        if labels is not None and labels.learns_regions:
            kept["regions"] = self._told["regions"]
        if targets:
            self._estimate(kept, targets)
        elif self._told.get("targets"):  # whose ways are for values, not for structures
            kept = {name: of for name, of in kept.items() if name not in ESTIMATING}
        return recipe.model_copy(update={"plan": {**kept, **recipe.plan}})

    def _estimate(self, kept: dict[str, Any], targets: tuple[str, ...]) -> None:
        """Fits what is kept to a network that estimates targets."""
        own = self._told.get("targets") or {"names": ()}
        others = () if own["names"] else ("spacing", "respace")
        for name in ("supervised_scales", *others):
            kept.pop(name, None)
        if tuple(own["names"]) == targets:
            kept["corrects"] = self._told["corrects"]
        if "intensities" in kept:
            kept["intensities"] = [_unclipped(each) for each in kept["intensities"]]

    def start(self) -> Start:
        """The weights, with what their head tells apart.

        Raises:
            ModelError: they are missing or damaged.
        """
        weights, plan = load_weights(self.folder, self.model)[0], self.model.plan
        if isinstance(plan, NnunetPlan):
            weights = turn_weights(plan, weights)
        return Start(weights, self._heads)


def _unclipped(intensity: Mapping[str, Any]) -> dict[str, Any]:
    """The same mean and spread, for values of any size."""
    opened = {"low": -UNBOUNDED, "high": UNBOUNDED} if intensity["scheme"] == "set" else {}
    return {**intensity, **opened}


def _refuse_other_places(channels: tuple[str, ...], own: tuple[str, ...], name: str) -> None:
    if moved := moved_channels(channels, own):
        raise ConfigError(
            f"{name} takes the channels {list(own)}, and the dataset has {list(channels)}: "
            f"{', '.join(moved)} would be seen in another's place. Bring them into the model's "
            "order, by the columns of a table or the numbers of the files."
        )


def _refuse_other_network(wanted: Mapping[str, Any], told: Mapping[str, Any], name: str) -> None:
    asked, has = (_as_built(values, told["family"]) for values in (check_wanted(wanted), told))
    other = [field for field in NETWORK if field in asked and asked[field] != has.get(field)]
    if other:
        raise ConfigError(
            f"The recipe wants other {', '.join(f'plan.{f}' for f in other)} than {name} has, and "
            "its weights fit no other network. Take these keys out of the recipe, or start from no "
            "model."
        )


def _as_built(values: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Fields of a plan with what they leave out filled in, so that they can be compared."""
    known = {name: values[name] for name in NETWORK if name in values}
    if "layers" in known:
        known["layers"] = LayerSettings.model_validate(known["layers"]).model_dump()
    if "options" in known and known.get("family", family) == family:
        known["options"] = read_options(family, known["options"]).model_dump()
    return dict(to_jsonable_python(known))
