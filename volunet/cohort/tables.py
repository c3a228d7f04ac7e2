"""The tables of a run: `cases.csv`, a row for every input, and `measurements.csv`, one a structure.

UTF-8, commas, a point in numbers, "" where nothing is known. They are written whole each time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from volunet.cohort.journal import CaseRecord
from volunet.io.atomic import write_text

CASES = "cases.csv"
MEASUREMENTS = "measurements.csv"
CASES_COLUMNS = (
    "case_id",
    "status",
    "codes",
    "message",
    "seconds",
    "peak_gb",
    "input",
    "output",
)
MEASUREMENTS_COLUMNS = ("case_id", "label", "value", "voxels", "volume_ml")
WAITING = "Not done yet; the same command goes on."


def write_tables(
    folder: Path, inputs: Mapping[str, str], records: Mapping[str, CaseRecord]
) -> None:
    """Writes both tables, in the place of earlier ones.

    Args:
        inputs: every input found, by case id, in the order of the rows.
        records: those that are finished; the others get a row with an empty status.

    Raises:
        WriteError: the disk is full or refuses.
    """
    found = [(case_id, records.get(case_id)) for case_id in inputs]
    cases = (
        (case_id, "", "", WAITING, "", "", inputs[case_id], "")
        if record is None
        else _case_row(record)
        for case_id, record in found
    )
    write_text(folder / CASES, _to_csv(CASES_COLUMNS, cases))
    measured = (row for _, record in found if record for row in _measurement_rows(record))
    write_text(folder / MEASUREMENTS, _to_csv(MEASUREMENTS_COLUMNS, measured))


def _case_row(record: CaseRecord) -> tuple[str, ...]:
    return (
        record.case_id,
        record.status,
        ";".join(record.codes),
        record.message,
        f"{record.seconds:.2f}",
        "" if record.peak_gb is None else f"{record.peak_gb:.3f}",
        record.input,
        record.output,
    )


def _measurement_rows(record: CaseRecord) -> Iterable[tuple[str, ...]]:
    for found in record.measurements:
        volume = f"{found.volume_ml:.9g}"
        yield record.case_id, found.label, str(found.value), str(found.voxels), volume


def _to_csv(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
