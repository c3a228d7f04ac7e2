"""Models from networks that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path

from volunet.errors import ConfigError
from volunet.packaging.import_monai import import_monai as pack
from volunet.planning.stated import plan_as_stated
from volunet.recipe import Recipe


def import_monai(checkpoint: Path, recipe: Recipe, output: Path) -> Path:
    """Writes a model from a checkpoint and a recipe that says how it was trained.

    Returns:
        The model's `model.json`.

    Raises:
        ConfigError: the recipe does not say what the network takes, gives or is.
        ModelError: the checkpoint cannot be read safely, or does not fit the network.
        WriteError: the model could not be written.
    """
    if recipe.channels is None or recipe.labels is None:
        raise ConfigError(
            "The recipe does not say what the network takes and gives: channels (a list of names) "
            "and labels.structures (names and values) are needed."
        )
    plan = plan_as_stated(recipe.plan, recipe.channels, recipe.labels)
    told = {"licence": recipe.licence, "intended_use": recipe.intended_use}
    return pack(checkpoint, plan, output, name=recipe.name, **told)
