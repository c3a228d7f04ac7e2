"""What a run tells of itself: memory, messages, and the run record."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.cohort.test_runner import predict, rows
from tests.cohort.threshold import Threshold, write_scan, write_scans
from volunet.cohort.failures import LONGEST, judge_error, judge_findings, one_line
from volunet.cohort.resources import watch_memory
from volunet.cohort.run_record import Asked
from volunet.findings import Refused, finding

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak anew")


@LINUX
def test_the_peak_is_that_of_the_case_and_not_of_the_process(tmp_path: Path) -> None:
    def fill(call: int) -> None:
        if call == 2:
            np.ones(300_000_000, np.uint8)

    out = tmp_path / "out"
    predict(write_scans(tmp_path / "scans", 3), out, Threshold(before=fill))
    first, second, third = (float(row["peak_gb"]) for row in rows(out / "cases.csv"))
    assert second - first == pytest.approx(0.3, abs=0.05)
    assert third == pytest.approx(first, abs=0.05)


@LINUX
def test_the_peak_is_in_gb_of_a_thousand_million_bytes() -> None:
    np.ones(400_000_000, np.uint8)
    peak_gb = watch_memory()
    before = peak_gb()
    np.ones(200_000_000, np.uint8)
    after = peak_gb()
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(0.2, abs=0.02)


def test_the_run_record_tells_what_was_done_and_names_no_folder(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "Jane Doe", 2), tmp_path / "out"
    (scans / "page.nii.gz").write_bytes(b"<html>")
    arguments = {"input": scans, "model": str(tmp_path / "run" / "model"), "shard": (1, 4)}
    asked = Asked(root=scans, arguments=arguments, device="cpu")
    predict(scans, out, asked=asked)
    predict(scans, out, asked=asked)
    text = (out / "run.json").read_text()
    told = json.loads(text)
    assert str(tmp_path) not in text
    assert told["format"] == 1
    assert told["arguments"] == {"input": "Jane Doe", "model": "model", "shard": [1, 4]}
    assert told["model"] == "threshold"
    assert told["device"] == "cpu"
    assert set(told["versions"]) == {"volunet", "torch", "monai", "numpy", "python"}
    assert (told["inputs"], told["finished"], told["kept"]) == (3, 3, 3)
    assert told["counts"] == {"ok": 2, "refused": 1}
    started, ended = (datetime.fromisoformat(told[name]) for name in ("started", "ended"))
    assert started.utcoffset() == timedelta(0)
    assert started <= ended
    assert told["seconds"] >= 0


def test_the_record_of_a_run_at_work_has_no_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[dict[str, object]] = []
    model = Threshold(before=lambda call: seen.append(json.loads((out / "run.json").read_text())))
    predict(write_scan(tmp_path / "scans" / "a.nii.gz").parent, out, model)
    assert seen[0]["ended"] is None
    assert (seen[0]["inputs"], seen[0]["finished"]) == (1, 0)


def test_findings_that_only_inform_leave_a_case_ok() -> None:
    told = judge_findings([finding("IMG-SQUEEZED", "One axis went.")])
    assert (told.status, told.codes) == ("ok", ())


def test_codes_are_told_once_and_worst_first() -> None:
    found = [finding(c, "It is so.") for c in ("OOD-SIZE", "IMG-2D", "OOD-SIZE", "IMG-SQUEEZED")]
    assert judge_findings(found).codes == ("IMG-2D", "OOD-SIZE")


def test_a_file_that_the_disk_does_not_give_is_a_failure_and_no_refusal() -> None:
    told = judge_error(Refused([finding("IO-FAULT", "Input/output error.")]), [])
    assert (told.status, told.codes) == ("failed", ("IO-FAULT",))


def test_a_message_is_one_line_of_bounded_length_that_can_be_stored() -> None:
    assert one_line("a\nb\t c\r\n") == "a b c"
    assert len(one_line("x" * 10_000)) == LONGEST
    one_line("b\udce4d \ud800").encode()
