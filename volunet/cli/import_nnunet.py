"""`volunet import-nnunet`: a model trained with nnU-Net v2, to be run by volunet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from volunet.cli.exits import exits
from volunet.cli.options import Json, Quiet, Verbose
from volunet.cli.speaker import Speaker


def import_nnunet(
    folder: Annotated[Path, typer.Argument(help="Such as nnUNetTrainer__nnUNetPlans__3d_fullres.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the model.")],
    folds: Annotated[
        str, typer.Option(help="Folds to take, such as 0,1,2 or all; by default those there are.")
    ] = "",
    checkpoint: Annotated[
        Literal["final", "best"], typer.Option(help="The checkpoint of each fold.")
    ] = "final",
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """A model of volunet's from a trained nnU-Net v2.

    2d and 3d_fullres, plain and residual encoder U-Nets; several folds become an ensemble. Nothing
    of nnU-Net needs to be installed, and no code in its files is run.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.packaging.import_nnunet import import_nnunet as run
        from volunet.packaging.model_file import read_model_file

        wanted = [fold.strip() for fold in folds.split(",") if fold.strip()]
        path = run(folder, output, folds=wanted, which=checkpoint)
        model = read_model_file(path.parent)
        known = "spacing alone" if model.fingerprint.cases else "nothing"
        speaker.give({"model": str(path), "name": model.name, "networks": len(model.weights)})
        speaker.say(
            f"{model.name}: {len(model.weights)} networks. Scans will be judged by {known}."
        )
        speaker.show(f"The model is in {path.parent}.")
