"""What a command says: sentences and progress for people on stderr, results on stdout.

On a terminal progress is drawn with rich; in a log it is a plain line now and then; with --json
the results are JSON, one object a line, and nothing else goes to stdout.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

PLAIN_S = 5.0
"""Seconds between plain progress lines, at least."""


@dataclass
class Speaker:
    """Says what a verb has to say.

    Args:
        quiet: nothing but errors and results.
        verbose: the library's log too, and tracebacks.
        as_json: results as JSON lines.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    out: Console = field(default_factory=lambda: Console(soft_wrap=True, highlight=False))
    err: Console = field(
        default_factory=lambda: Console(stderr=True, soft_wrap=True, highlight=False)
    )
    _bar: Progress | Live | None = None
    _task: Any = None
    _what: str = ""
    _last: float = 0.0

    def __post_init__(self) -> None:
        level = logging.INFO if self.verbose else logging.ERROR if self.quiet else logging.WARNING
        logging.basicConfig(level=level, format="%(name)s: %(message)s")

    def say(self, text: str) -> None:
        """A sentence for people."""
        self.end_bar()
        if not self.quiet:
            self.err.print(escape(text))

    def complain(self, text: str) -> None:
        """An error, always said."""
        self.end_bar()
        self.err.print(f"[bold red]{escape(text)}[/]")

    def give(self, result: Mapping[str, Any]) -> None:
        """A result for scripts; nothing without --json."""
        if self.as_json:
            print(json.dumps(result), flush=True)  # noqa: T201 - the command's own output

    def show(self, text: str) -> None:
        """A result for people; nothing with --json."""
        self.end_bar()
        if not self.as_json:
            self.out.print(escape(text))

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        numbers: bool = False,
    ) -> None:
        """A table for people; nothing with --json. Long words are folded, never cut.

        Args:
            numbers: all columns but the first hold numbers, which stay on one line.
        """
        self.end_bar()
        if self.as_json:
            return
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for place, column in enumerate(columns):
            is_number = numbers and place > 0
            table.add_column(
                column,
                justify="right" if is_number else "left",
                no_wrap=is_number if numbers else place == 0,
                overflow="fold",
            )
        for row in rows:
            table.add_row(*map(escape, row))
        self.out.print(table)

    def counted(self, what: str, done: int, total: int) -> None:
        """How far a count has come: a bar on a terminal, a line now and then elsewhere."""
        if self.quiet:
            return
        if self.err.is_terminal:
            bar = self._bar_of(what, total)
            bar.update(self._task, completed=done, total=total)
            if done == total:
                self.end_bar()
        elif done == total or time.monotonic() - self._last > PLAIN_S:
            self._last = time.monotonic()
            self.err.print(escape(f"{what}: {done} of {total}"))

    def status(self, text: str, share: float) -> None:
        """One line that replaces itself on a terminal, and stands now and then elsewhere."""
        if self.quiet:
            return
        if self.err.is_terminal:
            bar = self._bar_of("", 1000)
            bar.update(self._task, completed=int(1000 * share), description=escape(text))
        elif time.monotonic() - self._last > PLAIN_S:
            self._last = time.monotonic()
            self.err.print(escape(text))

    @property
    def draws(self) -> bool:
        """Whether there is a terminal to draw on, and somebody who looks at it."""
        return self.err.is_terminal and not (self.quiet or self.as_json)

    @property
    def drawing(self) -> bool:
        """Whether a picture stands there that the next one replaces."""
        return isinstance(self._bar, Live)

    def draw(self, picture: RenderableType) -> None:
        """A picture that replaces the one before; the last stays once something else is said."""
        if not isinstance(self._bar, Live):
            self.end_bar()
            self._bar = Live(console=self.err, auto_refresh=False)
            with suppress(OSError):
                self._bar.start()
        with suppress(OSError):
            self._bar.update(picture, refresh=True)

    def end_bar(self) -> None:
        """Takes a bar off the terminal; a picture stays, and no other replaces it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _bar_of(self, what: str, total: int) -> Progress:
        """The bar that stands there, or a new one where it counts something else."""
        if isinstance(self._bar, Progress) and what == self._what:
            return self._bar
        self.end_bar()
        count = MofNCompleteColumn() if what else TextColumn("")
        columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
        bar = Progress(*columns, console=self.err, transient=True)
        self._bar, self._what = bar, what
        self._task = bar.add_task(what, total=total)
        with suppress(OSError):
            bar.start()
        return bar
