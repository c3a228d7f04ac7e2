"""`volunet import-monai`: a network of MONAI's with trained weights, to be run by volunet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volunet.cli.exits import exits
from volunet.cli.options import Change, Json, Quiet, RecipeFile, Verbose
from volunet.cli.plan import read_recipe
from volunet.cli.speaker import Speaker


def import_monai(
    checkpoint: Annotated[Path, typer.Argument(help="A state_dict in .pt, .pth or .safetensors.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the model.")],
    recipe: RecipeFile = None,
    change: Change = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """A model of volunet's from a checkpoint of MONAI's.

    The recipe says what the network is (plan.family and its settings), and how a scan becomes its
    input: channels, labels, plan.spacing, plan.patch, plan.intensities. The file is read as data.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.api.foreign import import_monai as run

        asked = read_recipe(recipe, change)
        path = run(checkpoint, asked, output)
        family = asked.plan["family"]
        speaker.give({"model": str(path), "name": asked.name, "family": family})
        speaker.say(
            f"{asked.name}: {family}. Scans cannot be judged against those it learnt "
            "from, of which the checkpoint says nothing."
        )
        speaker.show(f"The model is in {path.parent}.")
