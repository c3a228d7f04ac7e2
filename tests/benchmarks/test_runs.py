"""Measurements are kept, not repeated, and told as medians."""

from __future__ import annotations

import json
import sys

import nibabel as nib
import numpy as np
import pytest

from benchmarks.runs import Row, measure, measure_all, median, result_path, summary
from benchmarks.scores import mean_dice

COUNTS = "import sys; open(sys.argv[1], 'a').write('x')"
HOLDS = "x = bytearray(150_000_000)"


def test_a_measurement_that_is_there_is_not_repeated(tmp_path):
    done = tmp_path / "done"
    row = Row("a", (sys.executable, "-c", COUNTS, str(done)))
    measure_all([row], tmp_path / "w", 2)
    measure_all([row], tmp_path / "w", 3)
    assert done.read_text() == "xxx"


def test_what_is_done_once_on_a_machine_is_done_before_and_apart(tmp_path):
    done, once = tmp_path / "done", tmp_path / "once"
    words = (sys.executable, "-c", COUNTS)
    row = Row("a", (*words, str(done)), first=(*words, str(once)))
    measure_all([row], tmp_path / "w", 2)
    assert (done.read_text(), once.read_text()) == ("xx", "x")
    assert summary([row], tmp_path / "w", 2)["a"]["first_s"] > 0


def test_peak_memory_is_that_of_the_process_alone(tmp_path):
    rows = [
        Row("large", (sys.executable, "-c", HOLDS)),
        Row("small", (sys.executable, "-c", "pass")),
    ]
    measure_all(rows, tmp_path, 1)
    told = summary(rows, tmp_path, 1)
    assert 0.15 < told["large"]["peak_gb"] < 0.3
    assert told["small"]["peak_gb"] < told["large"]["peak_gb"] - 0.12


def test_a_command_that_fails_names_its_log(tmp_path):
    row = Row("a", (sys.executable, "-c", "raise SystemExit('no scan')"))
    with pytest.raises(RuntimeError, match=r"a_1\.log"):
        measure(row, tmp_path, 1)
    assert "no scan" in (tmp_path / "a_1.log").read_text()


def test_a_row_that_fails_is_not_kept_and_the_others_go_on(tmp_path):
    rows = [
        Row("a", (sys.executable, "-c", "raise SystemExit(1)")),
        Row("b", (sys.executable, "-c", "pass")),
    ]
    measure_all(rows, tmp_path, 1)
    assert not result_path(tmp_path, "a", 1).exists()
    assert result_path(tmp_path, "b", 1).exists()


def test_a_scan_that_was_refused_is_no_measurement(tmp_path):
    record = json.dumps({"status": "refused", "message": "two channels"})
    say = f"import sys; open(sys.argv[1] + '/journal.jsonl', 'w').write('head\\n{record}\\n')"
    with pytest.raises(RuntimeError, match="two channels"):
        measure(Row("a", (sys.executable, "-c", say, "{out}")), tmp_path, 1)


def test_a_row_that_cannot_be_measured_says_why(tmp_path):
    row = Row("a", ("none",), missing="no Python with it was named")
    measure_all([row], tmp_path, 1)
    assert summary([row], tmp_path, 1)["a"]["not_measured"] == "no Python with it was named"


def test_medians_are_taken_of_seconds_and_of_each_step(tmp_path):
    for n, seconds in enumerate((3.0, 1.0, 8.0), start=1):
        facts = {"seconds": seconds, "peak_gb": 1.0, "steps_s": {"read": seconds / 2}}
        result_path(tmp_path, "a", n).write_text(json.dumps(facts))
    told = summary([Row("a", ())], tmp_path, 3)["a"]
    assert (told["seconds"], told["steps_s"], told["runs"]) == (3.0, {"read": 1.5}, 3)
    assert median([4.0, 1.0]) == 2.5


def test_dice_is_that_of_labels_which_the_reference_holds(tmp_path):
    mask, reference = np.zeros((4, 4, 4), "u1"), np.zeros((4, 4, 4), "u1")
    reference[:2], mask[1:3], mask[3, 0, 0] = 1, 1, 7
    for kind, voxels in (("masks", mask), ("references", reference)):
        (tmp_path / kind).mkdir()
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / kind / "a.nii.gz")
    found = mean_dice(tmp_path / "masks", tmp_path / "references")
    assert found == {"1": 0.5, "mean": 0.5}
