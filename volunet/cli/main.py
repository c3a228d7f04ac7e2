"""The command `volunet`: one verb a file, each loaded when it is called."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from volunet.cli.check import check
from volunet.cli.compare import compare
from volunet.cli.demo import demo
from volunet.cli.evaluate import evaluate
from volunet.cli.import_monai import import_monai
from volunet.cli.import_nnunet import import_nnunet
from volunet.cli.info import info
from volunet.cli.models import models
from volunet.cli.plan import plan
from volunet.cli.predict import predict
from volunet.cli.train import train

app = typer.Typer(
    name="volunet",
    help="3-D medical segmentation: labelled scans to a model, scans to masks and scores.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    *(demo, info, check, plan, train, predict, evaluate, compare),
    *(import_nnunet, import_monai, models),
):
    app.command()(verb)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("volunet"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="The version."),
    ] = False,
) -> None:
    """Say what every verb has in common."""


def run() -> None:
    """Runs the command; the entry point of the package."""
    app()


if __name__ == "__main__":
    run()
