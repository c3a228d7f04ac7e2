"""`volunet compare`: two evaluations of the same cases, pair by pair."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volunet.cli.exits import exits
from volunet.cli.options import Json, Quiet, Verbose
from volunet.cli.speaker import Speaker

if TYPE_CHECKING:
    from volunet.evaluation.compare import Difference


def compare(
    first: Annotated[Path, typer.Argument(help="What `volunet evaluate` wrote, or a run.")],
    second: Annotated[Path, typer.Argument(help="The same of another method, same cases.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for comparison.csv.")],
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Two evaluations of the same cases, pair by pair.

    How much better the first is than the second, with 95 % intervals over cases; positive where it
    is better, for distances and errors too.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.evaluation.compare import compare_metrics, read_metrics, to_csv
        from volunet.io.atomic import write_text

        scored = read_metrics(first)
        found = compare_metrics(scored, read_metrics(second))
        what = "structure" if scored.kind == "label" else "target"
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "comparison.csv", to_csv(found))
        for difference in found:
            speaker.give(told(difference))
        sides = ("first", "second", "first is better by", "n", "better, worse", "one side only")
        if any(each.first_only or each.second_only for each in found):
            speaker.say(
                "Some cases were scored on one side only, as there both masks were empty on the "
                "other, or a prediction was missing or refused: they are counted in the last "
                "column and in comparison.csv, and enter no difference. Look at them before you "
                "judge."
            )
        speaker.table("paired over cases", (what, "measure", *sides), [row(d) for d in found])
        speaker.show(f"The differences are in {output / 'comparison.csv'}.")


def told(difference: Difference) -> dict[str, Any]:
    """A difference as JSON; numbers that are not known are null."""

    def known(value: Any) -> Any:
        return None if isinstance(value, float) and isnan(value) else value

    facts = {**asdict(difference), **asdict(difference.gain)}
    del facts["gain"], facts["median"]
    facts["gain"] = facts.pop("mean")
    return {name: known(value) for name, value in facts.items()}


def row(difference: Difference) -> tuple[str, ...]:
    """A difference as a line of the table."""
    gain, one = difference.gain, f"{difference.first_only}, {difference.second_only}"
    if not gain.n:
        return (
            difference.label,
            difference.measure,
            "-",
            "-",
            "no case is scored on both",
            "0",
            "",
            one,
        )
    return (
        difference.label,
        difference.measure,
        _number(difference.first),
        _number(difference.second),
        f"{_number(gain.mean, '+')}\n[{_number(gain.low)},{_number(gain.high)}]",
        str(gain.n),
        f"{difference.wins}, {difference.losses}",
        one,
    )


def _number(value: float, sign: str = "") -> str:
    """Four places after the point below 1, four figures above."""
    return format(value, f"{sign}.4f" if abs(value) < 1 else f"{sign}.4g")
