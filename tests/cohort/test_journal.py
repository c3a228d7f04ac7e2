"""What is written down can be read back, whatever became of the last line."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volunet.cohort.journal import RECORD, CaseRecord, Journal, Measurement
from volunet.errors import ConfigError, WriteError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
FINITE = st.floats(0, 1e6)
RECORDS = st.builds(
    CaseRecord,
    case_id=TEXT,
    status=st.sampled_from(["ok", "ok_with_findings", "refused", "failed", "timeout", "oom"]),
    codes=st.lists(TEXT, max_size=3).map(tuple),
    message=TEXT,
    seconds=FINITE,
    peak_gb=st.none() | FINITE,
    measurements=st.lists(
        st.builds(Measurement, TEXT, st.integers(0, 300), st.integers(0, 9), FINITE), max_size=2
    ).map(tuple),
    how=st.dictionaries(TEXT, TEXT | st.booleans() | FINITE | st.lists(TEXT), max_size=3),
)


def record(case_id: str, seconds: float = 0) -> CaseRecord:
    return CaseRecord(case_id=case_id, status="ok", seconds=seconds)


@given(RECORDS)
def test_a_record_is_one_line_that_gives_it_back(known: CaseRecord) -> None:
    line = RECORD.dump_json(known)
    assert b"\n" not in line
    assert b"\r" not in line
    assert RECORD.validate_json(line) == known


def test_the_last_record_of_a_case_counts(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for seconds in (1, 2):
        journal.append(record("a", seconds))
    assert Journal.open(tmp_path).records == {"a": record("a", 2)}


def test_a_half_written_last_line_is_as_good_as_none(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append(record("a"))
    whole = journal.path.read_bytes()
    journal.append(record("b"))
    both = journal.path.read_bytes()
    for length in range(len(whole), len(both)):
        journal.path.write_bytes(both[:length])
        again = Journal.open(tmp_path)
        assert again.records == {"a": record("a")}
        again.append(record("c"))
        assert list(Journal.open(tmp_path).records) == ["a", "c"]


def test_a_damaged_line_costs_one_case(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for name in "abc":
        journal.append(record(name))
    lines = journal.path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"status", b"stat\xffs")
    journal.path.write_bytes(b"\n".join(lines))
    assert list(Journal.open(tmp_path).records) == ["a", "c"]


@pytest.mark.parametrize("content", ["", "half", '{"format": 2}\n', "step,loss\n1,2\n"])
def test_a_foreign_journal_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "journal.jsonl").write_text(content)
    with pytest.raises(ConfigError, match="Choose another folder"):
        Journal.open(tmp_path)
    assert (tmp_path / "journal.jsonl").read_text() == content


def test_a_line_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    journal = Journal(Path("/dev/full"), {})
    with pytest.raises(WriteError, match="journal"):
        journal.append(record("a"))
    assert not journal.records


def test_records_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    threads = [threading.Thread(target=journal.append, args=(record(f"{n}"),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Journal.open(tmp_path).records) == 8
