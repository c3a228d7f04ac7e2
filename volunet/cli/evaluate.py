"""`volunet evaluate`: scores of masks against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volunet.cli.exits import NONE_OK, SOME_NOT_OK, exits
from volunet.cli.info import tell_findings
from volunet.cli.options import Json, Quiet, Verbose
from volunet.cli.speaker import Speaker
from volunet.cli.train import tell_summary


def evaluate(
    predictions: Annotated[Path, typer.Option("-p", "--predictions", help="Folder of masks.")],
    references: Annotated[
        Path, typer.Option("-r", "--references", help="Folder of masks of the same names.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for metrics.csv and summary.json.")
    ],
    tolerance_mm: Annotated[
        float, typer.Option(help="Tolerance of the surface Dice (NSD), mm.")
    ] = 1.0,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Leave out references without a prediction.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Scores of masks, with 95 % intervals over cases."""
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.evaluation.evaluate import evaluate as score_folder

        output.mkdir(parents=True, exist_ok=True)
        done = score_folder(
            predictions,
            references,
            output,
            tolerance_mm=tolerance_mm,
            only_predicted=only_predicted,
        )
        tell_findings(speaker, done.findings)
        speaker.give(done.summary)
        tell_summary(speaker, "scores (Dice with 95 % interval over cases)", done.summary)
        speaker.show(f"The scores are in {output / 'metrics.csv'} and {output / 'summary.json'}.")
        if done.missing or done.refused:
            speaker.say(f"{len(done.missing)} predictions missing, {len(done.refused)} refused.")
            left = {s.case_id for s in done.scores} - {*done.missing, *done.refused}
            raise typer.Exit(SOME_NOT_OK if left else NONE_OK)
