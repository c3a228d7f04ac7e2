"""A dataset as a table: case_id,image[,image:<channel>...],label[,group][,split][,fold][,labelled].

In place of `label` a table may have `target`: the image that is to be estimated.

`split` is train or validation; `fold` the fold that holds the case out, from 0; `labelled` the
names of the structures that were drawn, with ";" between them, empty for all. A labels.json in the
table's folder declares the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volunet.data.cases import Case, Dataset, Side, find_clashes
from volunet.data.drawn import check_drawn, with_drawn
from volunet.data.layout_folders import name_channels, name_targets, read_declared
from volunet.data.pairs import missing_files
from volunet.data.table import CHANNEL, Row, Table, read_table
from volunet.io.names import composed
from volunet.space.labels import Labels

COLUMNS = ("case_id", "label", "target", "group", "split", "fold", "labelled")


def read_csv_dataset(path: Path, labels: Labels | None) -> Dataset:
    """The cases of a table.

    Raises:
        DatasetError: the table cannot be understood; the message names the line.
        ConfigError: a labels.json beside it that cannot be understood.
    """
    table = read_table(path, known=COLUMNS, needed=("case_id",), either=("label", "target"))
    aims = "target" in table.rows[0].cells
    declared = read_declared(path.parent).of(estimates=aims)
    table = table.in_order_of(declared.channels, whose="labels.json's")
    labels = Labels(structures={}) if aims else labels or declared.labels
    cases = [_case(table, row, labels) for row in table.rows]
    findings = find_clashes((row.case_id, row.place) for row in table.rows)
    lost = [(file, case.case_id) for case in cases for file in case.files if not file.is_file()]
    findings += missing_files(lost)
    torn = {case_id for _, case_id in lost}
    whole = [case for case in cases if case.case_id not in torn]
    told, strange = with_drawn(whole, declared.labelled, labels)
    return Dataset(
        root=path.parent,
        cases=told,
        channels=_channel_names(table, declared.channels, told),
        labels=labels,
        targets=(declared.targets or name_targets(told)) if aims else (),
        layout="csv",
        findings=(*findings, *strange),
    )


def _case(table: Table, row: Row, labels: Labels | None) -> Case:
    return Case(
        case_id=row.case_id,
        images=table.images(row),
        label=table.folder / row.cells["label"] if "label" in row.cells else None,
        target=table.folder / row.cells["target"] if "target" in row.cells else None,
        group=composed(row.cells.get("group", "")),
        split=_side(row),
        fold=_fold(row),
        labelled=_drawn(row, labels),
    )


def _side(row: Row) -> Side:
    said = row.cells.get("split", "")
    sides: dict[str, Side] = {"": "", "train": "train", "validation": "validation"}
    if said not in sides:
        raise row.error(f"split is 'train' or 'validation', got {said!r}. Change the cell.")
    return sides[said]


def _fold(row: Row) -> int | None:
    said = row.cells.get("fold", "")
    if said and not (said.isascii() and said.isdecimal()):
        raise row.error(f"fold is a whole number from 0 up, got {said!r}. Change the cell.")
    return int(said) if said else None


def _drawn(row: Row, labels: Labels | None) -> tuple[str, ...] | None:
    names = [name.strip() for name in row.cells.get("labelled", "").split(";") if name.strip()]
    return check_drawn(names, labels, at=f"{row.place}: labelled") if names else None


def _channel_names(
    table: Table, declared: tuple[str, ...], cases: Sequence[Case]
) -> tuple[str, ...]:
    """The names of a labels.json, or in the header; a picture names the plain column "image"."""
    if declared:
        return declared
    if table.channels == ("image",):
        return name_channels(cases)
    return tuple(column.removeprefix(CHANNEL) for column in table.channels)
