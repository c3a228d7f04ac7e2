"""`volunet evaluate`: scores of masks, or of predicted values, against references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volunet.cli.exits import NONE_OK, SOME_NOT_OK, exits
from volunet.cli.info import tell_findings
from volunet.cli.options import Accept, Json, Quiet, Verbose
from volunet.cli.speaker import Speaker
from volunet.cli.train import tell_summary
from volunet.cli.value_table import tell_values

if TYPE_CHECKING:
    from volunet.evaluation.evaluate import Evaluation
    from volunet.evaluation.evaluate_values import ValueEvaluation

TOLERANCE_MM = 1.0
SHOWN = 5
"""Cases that are named of those without a score."""


def evaluate(
    predictions: Annotated[
        Path, typer.Option("-p", "--predictions", help="Folder of masks, or of values.")
    ],
    references: Annotated[
        Path, typer.Option("-r", "--references", help="Folder of files of the same names.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for metrics.csv and summary.json.")
    ],
    tolerance_mm: Annotated[
        float | None,
        typer.Option(help="Tolerance of the surface Dice (NSD), mm; 1 where none is given."),
    ] = None,
    values: Annotated[
        bool, typer.Option("--values", help="Files hold values (of a regression), not labels.")
    ] = False,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Leave out references without a prediction.")
    ] = False,
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Scores of masks or values, with 95 % intervals."""
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        score = _score_values if values else _score_masks
        how: dict[str, Any] = {"only_predicted": only_predicted, "accept": accept or ()}
        done = score(predictions, references, output, tolerance_mm, how)
        tell_findings(speaker, done.findings)
        speaker.give(done.summary)
        tell, measure = (tell_values, "MAE") if values else (tell_summary, "Dice")
        tell(speaker, f"scores ({measure} with 95 % interval over cases)", done.summary)
        speaker.show(f"The scores are in {output / 'metrics.csv'} and {output / 'summary.json'}.")
        tell_unscored(speaker, done, "" if values else ", scored as empty masks")
        if done.missing or done.refused:
            left = {s.case_id for s in done.scores} - {*done.missing, *done.refused}
            raise typer.Exit(SOME_NOT_OK if left else NONE_OK)


def tell_unscored(speaker: Speaker, done: Evaluation | ValueEvaluation, scored: str) -> None:
    """Which cases have no prediction, or one that is refused.

    Args:
        scored: what becomes of those without.
    """
    if done.missing:
        speaker.say(f"Predictions missing{scored}: {some_of(done.missing)}.")
    if done.refused:
        speaker.say(f"Refused, and in no mean: {some_of(done.refused)}.")


def some_of(cases: Sequence[str]) -> str:
    """The first of many case ids, and of how many."""
    more = f", and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    return ", ".join(cases[:SHOWN]) + more


def _score_masks(
    predictions: Path,
    references: Path,
    output: Path,
    tolerance_mm: float | None,
    how: dict[str, Any],
) -> Evaluation | ValueEvaluation:
    from volunet.evaluation.evaluate import evaluate as score_folder

    output.mkdir(parents=True, exist_ok=True)
    return score_folder(
        predictions,
        references,
        output,
        tolerance_mm=TOLERANCE_MM if tolerance_mm is None else tolerance_mm,
        **how,
    )


def _score_values(
    predictions: Path,
    references: Path,
    output: Path,
    tolerance_mm: float | None,
    how: dict[str, Any],
) -> Evaluation | ValueEvaluation:
    from volunet.errors import ConfigError
    from volunet.evaluation.evaluate_values import evaluate_values

    if tolerance_mm is not None:
        raise ConfigError(
            "--tolerance-mm is about the surfaces of masks, and --values scores files that have "
            "none. Leave one of them out."
        )
    output.mkdir(parents=True, exist_ok=True)
    return evaluate_values(predictions, references, output, **how)
