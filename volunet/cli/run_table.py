"""What a training run has come to so far, as a small table that replaces itself on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

if TYPE_CHECKING:
    from volunet.training.handlers import Progress

BAR = 30
"""Letters that the bar is wide."""


class RunTable:
    """The newest line of a run's history, with the last that is known of what it leaves out."""

    def __init__(self) -> None:
        self._loss, self._measure, self._scores = "-", "", ""
        self._validated: int | None = None
        self._notes: list[str] = []

    def after(self, progress: Progress) -> Table:
        """The table once a line more is known."""
        row, score = progress.row, progress.score
        if row.loss is not None:
            self._loss = f"{row.loss:.3f}"
        if score is not None:
            self._validated = row.step
            each = ", ".join(f"{name} {value:.3f}" for name, value in score.each.items())
            self._measure = score.measure.said
            part = f" ({score.part})" if score.part else ""
            self._scores = f"mean {score.mean:.3f}{part}: {each}"
        self._notes += progress.notes
        table = Table(box=SIMPLE, show_header=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        table.add_row("step", str(row.step))
        table.add_row("time", f"{row.seconds:.0f} s; the budget is {progress.budget}")
        table.add_row("", ProgressBar(total=1, completed=progress.progress, width=BAR))
        table.add_row("loss", self._loss)
        table.add_row("rate", f"{row.learning_rate:.2g}")
        if self._validated is not None:
            table.add_row(f"{self._measure} at step {self._validated}", escape(self._scores))
        for note in self._notes:
            table.add_row("note", escape(note))
        return table
