"""A table of cases: a CSV whose columns are known, read row by row with its mistakes named.

UTF-8, commas, one row a case. Paths are relative to the table's folder.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from volunet.errors import DatasetError
from volunet.io.names import can_name_a_file, composed

CHANNEL = "image:"
"""Start of a column that holds one channel; the rest is the channel's name."""


@dataclass(frozen=True)
class Row:
    """One row of a table: where it stands, and its cells by column without outer blanks."""

    place: str
    cells: dict[str, str]

    @property
    def case_id(self) -> str:
        """The case's name, in Unicode's composed form."""
        return composed(self.cells["case_id"])

    def error(self, message: str) -> DatasetError:
        """An error that says which row is wrong."""
        return DatasetError(f"{self.place}: {message}")


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Args:
        channels: the columns of images in their order.
        rows: at least one.
    """

    folder: Path
    channels: tuple[str, ...]
    rows: tuple[Row, ...]

    def images(self, row: Row) -> tuple[Path, ...]:
        """The image files of a row, one a channel."""
        return tuple(self.folder / row.cells[column] for column in self.channels)

    def in_order_of(self, names: Sequence[str], *, whose: str) -> Table:
        """The table with its columns of images as channels go.

        A plain "image" is the one that no other column names, or all of them where it is alone.

        Args:
            names: of the channels; none leave the columns as they are.
            whose: channels these are, for messages.

        Raises:
            DatasetError: the columns are of other channels.
        """
        if not names or self.channels == ("image",):
            return self
        wanted = tuple(f"{CHANNEL}{name}" for name in names)
        if "image" in self.channels and len(left := set(wanted) - set(self.channels)) == 1:
            wanted = tuple("image" if name in left else name for name in wanted)
        if set(self.channels) != set(wanted):
            raise DatasetError(
                f"The table has the columns {', '.join(self.channels)}, and {whose} channels are "
                f"{', '.join(names)}. Name the columns {', '.join(wanted)}."
            )
        return replace(self, channels=wanted)


def read_table(
    path: Path, known: Collection[str], needed: Collection[str], *, either: Sequence[str] = ()
) -> Table:
    """The rows of a CSV.

    Args:
        known: the columns that it may have besides the images.
        needed: those of them that it must have, and whose cells must be filled.
        either: those of which it must have one, and not two; the first one is what is usual.

    Raises:
        DatasetError: the file is no CSV in UTF-8, has an unknown or missing column, or a row with
            an empty needed cell, a cell too many, or an id that cannot be the name of a file.
    """
    lines = _read_lines(path)
    header = [name.strip() for name in lines[0][1]] if lines else []
    channels = tuple(name for name in header if name == "image" or name.startswith(CHANNEL))
    chosen = [name for name in either if name in header]
    if len(chosen) > 1:
        raise DatasetError(
            f"{path.name} has the columns {chosen}. A model learns one of them: take the others "
            "out."
        )
    needed = [*needed, *(chosen or either[:1])]
    _check_header(path, header, [*known, *channels], needed)
    if not channels:
        raise DatasetError(f"{path.name} has no column 'image'. Add it; it has {header}.")
    rows = tuple(_row(path, header, number, cells) for number, cells in lines[1:])
    for row in rows:
        for column in (*needed, *channels):
            if not row.cells[column]:
                raise row.error(f"{column!r} is empty. Fill it, or remove the row.")
        _check_id(row)
    if not rows:
        raise DatasetError(f"{path.name} has a header and no rows. Add one row for each case.")
    return Table(path.parent, channels, rows)


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """The filled lines of a CSV with their numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path.name} cannot be read as a table: {error}. Save it as CSV in UTF-8."
        ) from error


def _check_header(
    path: Path, header: list[str], known: Collection[str], needed: Collection[str]
) -> None:
    if len(header) == 1 and any(sign in header[0] for sign in ";\t|"):
        raise DatasetError(f"{path.name} is not separated by commas. Save it with commas.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DatasetError(f"{path.name} has the columns {twice} more than once. Keep one of each.")
    allowed = sorted({*known, "image", f"{CHANNEL}<channel>"})
    for name in header:
        if name not in known or name == CHANNEL:
            close = get_close_matches(name, allowed, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DatasetError(
                f"{path.name} has a column {name!r} that volunet does not know.{hint} "
                f"It knows {', '.join(allowed)}; remove the others."
            )
    for name in needed:
        if name not in header:
            raise DatasetError(f"{path.name} has no column {name!r}. Add it; it has {header}.")


def _row(path: Path, header: list[str], number: int, cells: list[str]) -> Row:
    place = f"{path.name}, line {number}"
    if len(cells) > len(header):
        raise DatasetError(
            f"{place}: {len(cells)} cells for {len(header)} columns. Put cells that hold a comma "
            "in double quotes."
        )
    filled = [*(cell.strip() for cell in cells), *[""] * (len(header) - len(cells))]
    return Row(place, dict(zip(header, filled, strict=True)))


def _check_id(row: Row) -> None:
    if not can_name_a_file(row.case_id):
        raise row.error(
            f"the case id {row.case_id!r} cannot be the name of a file. Use letters, "
            "digits, '_' and '-'."
        )
