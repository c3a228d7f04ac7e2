"""The history of a run: one row every few steps, in a CSV that a spreadsheet opens."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from volunet.io.atomic import write_text
from volunet.training.measure import DICE, Measure

COLUMNS = ("step", "seconds", "loss", "learning_rate", "grad_norm")
"""Before the score of held-out cases, whose column has its measure's name."""
CASES = "val_cases"
"""After it: of how many cases it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the history.

    Args:
        step: steps taken.
        seconds: of the budget spent.
        loss: mean since the last line, None where no step was taken.
        grad_norm: mean before clipping since the last line, None where no step was taken.
        score: mean Dice or PSNR on whole validation cases, None where they were not scored.
        cases: how many were, where they were.
    """

    step: int
    seconds: float
    loss: float | None
    learning_rate: float
    grad_norm: float | None
    score: float | None = None
    cases: int | None = None

    def cells(self) -> list[str]:
        """The row as text, "" for what is not there."""
        values = [getattr(self, field.name) for field in fields(self)]
        return ["" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in values]


def open_history(path: Path, *, step: int, measure: Measure = DICE) -> None:
    """Starts a history, or takes back the rows of a run after `step`, which will come again."""
    kept = [row for row in read_history(path) if int(row["step"]) <= step]
    columns = (*COLUMNS, measure.column, CASES)
    # Versions before 0.1.0 did not count cases.
    lines = [",".join(columns), *(",".join(row.get(name, "") for name in columns) for row in kept)]
    write_text(path, "\n".join(lines) + "\n")


def append_row(path: Path, row: Row) -> None:
    """Adds one line."""
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(row.cells())


def read_history(path: Path) -> list[dict[str, str]]:
    """The rows of a history; [] where there is none. A half-written last line is left out."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if None not in row and all(v is not None for v in row.values())]
