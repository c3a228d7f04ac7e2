"""A history has the column of what held-out cases are scored by, and goes on where it stopped."""

from __future__ import annotations

import pytest

from volunet.training.history import COLUMNS, Row, append_row, open_history, read_history
from volunet.training.measure import DICE, MEASURES, PSNR

ROWS = [
    Row(1, 0.5, 0.75, 0.01, 2.0),
    Row(2, 1.0, None, 0.01, None, score=31.25, cases=3),
    Row(3, 1.5, 0.5, 0.001, 1.0),
]


def written(path, measure):
    open_history(path, step=0, measure=measure)
    for row in ROWS:
        append_row(path, row)
    return path


@pytest.mark.parametrize("measure", MEASURES)
def test_scores_stand_in_the_column_of_their_measure(tmp_path, measure):
    path = written(tmp_path / "history.csv", measure)
    header, *lines = path.read_text().splitlines()
    assert header == ",".join((*COLUMNS, measure.column, "val_cases"))
    assert lines[1] == "2,1,,0.01,,31.25,3"
    rows = read_history(path)
    assert [row[measure.column] for row in rows] == ["", "31.25", ""]
    assert [row["loss"] for row in rows] == ["0.75", "", "0.5"]


def test_measures_are_told_apart_by_their_columns():
    assert (DICE.column, PSNR.column) == ("val_dice", "val_psnr_db")
    assert len({m.column for m in MEASURES}) == len(MEASURES) == 2


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("step", [0, 1, 2, 3, 9])
def test_rows_after_the_step_of_a_checkpoint_are_taken_back(tmp_path, measure, step):
    path = written(tmp_path / "history.csv", measure)
    before = read_history(path)
    open_history(path, step=step, measure=measure)
    assert read_history(path) == [row for row in before if int(row["step"]) <= step]
    append_row(path, Row(step + 1, 2.0, 0.1, 0.01, 1.0, score=33.0))
    assert read_history(path)[-1][measure.column] == "33"


def test_a_half_written_line_is_left_out(tmp_path):
    path = written(tmp_path / "history.csv", PSNR)
    with path.open("a") as file:
        file.write("4,2.0,0.4")
    assert [row["step"] for row in read_history(path)] == ["1", "2", "3"]
    open_history(path, step=3, measure=PSNR)
    assert len(path.read_text().splitlines()) == 4


def test_a_history_without_a_count_of_cases_goes_on(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(",".join((*COLUMNS, "val_dice")) + "\n1,0.5,,0.01,,0.7\n")
    open_history(path, step=1)
    append_row(path, ROWS[1])
    assert [row["val_cases"] for row in read_history(path)] == ["", "3"]


def test_there_is_no_history_before_the_first_line(tmp_path):
    assert read_history(tmp_path / "history.csv") == []
