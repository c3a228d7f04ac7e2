"""What is checked before the cases of a run are prepared, so that no hours go into a mistake."""

from __future__ import annotations

import json

from volunet.api.asked import Wanted
from volunet.api.run_folder import RunFolder
from volunet.api.starting import Starting
from volunet.errors import ConfigError
from volunet.planning.plan import Plan
from volunet.recipe import Recipe
from volunet.space.labels import Labels
from volunet.training.begin import begin_network
from volunet.training.losses.choose import loss_for
from volunet.training.optim import make_optimizer


def refuse_to_mix_sides(labels: Labels, recipe: Recipe) -> None:
    """Sees to it that left is not learnt for right.

    Raises:
        ConfigError: patches would be mirrored, and labels that tell sides apart are no pairs.
    """
    if 0 not in recipe.training.augmentation.mirror:
        return
    if labels.single_sides:
        raise ConfigError(
            "training.augmentation.mirror holds 0, which turns left into right, and "
            f"{list(labels.single_sides)} tell a side by their names and have no partner to swap "
            "with. Take 0 out; or name them without a side, where their mirror images are the same."
        )
    if labels.sides:
        pairs = json.dumps(labels.sides)
        raise ConfigError(
            "training.augmentation.mirror holds 0, which turns left into right, and labels tell "
            f"these apart by their names. Declare labels.pairs = {pairs}, and they are swapped "
            "too; or take 0 out, as for chambers of the heart, which are no mirror images."
        )


def check_beginning(run: RunFolder, recipe: Recipe, wanted: Wanted, plan: Plan) -> None:
    """Sees to it that a run can begin, before hours go into its cases.

    Raises:
        ConfigError: as `check_start` has it, or the loss or the optimiser's settings are about what
            the plan has not.
        ModelError: weights to begin with do not fit the network.
    """
    check_start(recipe, wanted, plan)
    if run.goes_on:
        return
    start = None if wanted.start is None else Starting(wanted.start).start()
    network, _ = begin_network(plan, recipe.training, start, wanted.encoder_weights)
    make_optimizer(network, recipe.training.optimisation, heads=plan.head_axes)
    loss_for(plan, recipe.training.loss)


def check_start(recipe: Recipe, wanted: Wanted, plan: Plan) -> None:
    """Sees to it that what is said of the weights a network begins with goes together.

    Raises:
        ConfigError: it does not, or a setting is about weights that are not given.
    """
    told = recipe.training.model_dump(exclude_defaults=True).keys()
    if wanted.encoder_weights is not None and wanted.start is not None:
        raise ConfigError(
            "--from and --encoder-weights both say what the encoder begins with. Give one of them."
        )
    if wanted.encoder_weights is not None and plan.family != "encoder":
        raise ConfigError(
            f'--encoder-weights are for plan.family = "encoder", and the plan\'s network is '
            f"{plan.family}. Name an encoder in plan.options, or give --from for a whole network."
        )
    if wanted.encoder_weights is None and {"inflate", "inflate_axis", "learnt_on"} & told:
        raise ConfigError(
            "training.inflate, inflate_axis and learnt_on say what becomes of --encoder-weights of "
            "two dimensions, and none are given. Give them, or take the keys out."
        )
    if plan.dimensions == 2 and {"inflate", "inflate_axis"} & told:
        raise ConfigError(
            "training.inflate and inflate_axis say how weights of two dimensions go into three, "
            "and the plan's network has two. Take the keys out, or set plan.dimensions = 3."
        )
    given = (wanted.start, wanted.encoder_weights)
    if recipe.training.optimisation.freeze_encoder and given == (None, None):
        raise ConfigError(
            "training.optimisation.freeze_encoder keeps an encoder as it is, and without a model "
            "to start from that is one of random weights. Give --from or --encoder-weights, or "
            "take the key out."
        )
