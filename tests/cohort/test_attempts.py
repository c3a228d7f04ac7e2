"""A case that kills the process costs two tries, and no other case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.cohort.test_runner import predict, rows, statuses
from tests.cohort.threshold import AFFINE, Aims, Threshold, write_scan, write_scans
from volunet.cli.exits import Stop
from volunet.cohort.attempts import NAME, TRIES, Attempts
from volunet.cohort.journal import FORMAT
from volunet.cohort.journal import NAME as JOURNAL
from volunet.cohort.run_record import Asked
from volunet.cohort.runner import predict_cohort
from volunet.data import scans as of_scans
from volunet.data.scans import find_scans
from volunet.space.labels import Labels

RUN = "import sys; from tests.cohort.test_attempts import run; run(*sys.argv[1:])"


def run(scans: str, out: str, deadly: str) -> None:
    """What the child does: it dies over one scan, as for want of memory."""
    mean = float(nib.load(deadly).get_fdata().mean())
    model = Threshold()

    def die(call: int) -> None:
        if np.isclose(model.calls[-1], mean, atol=1e-3):
            os.kill(os.getpid(), signal.SIGKILL)

    model.before = die
    sys.exit(predict_cohort(find_scans(scans), model, Path(out)).exit_code)


def child(scans: Path, out: Path) -> int:
    words = [sys.executable, "-c", RUN, str(scans), str(out), str(scans / "scan_1.nii.gz")]
    return subprocess.run(words, cwd=Path(__file__).parents[2], timeout=120).returncode


def masks(out: Path) -> set[str]:
    return {path.name.removesuffix(".nii.gz") for path in out.glob("*.nii.gz")}


def test_a_scan_that_kills_the_process_does_not_keep_the_others_from_being_done(tmp_path: Path):
    scans, out = write_scans(tmp_path / "scans", 5), tmp_path / "out"
    assert child(scans, out) == -signal.SIGKILL
    assert "scan_3" not in masks(out)
    assert child(scans, out) == -signal.SIGKILL
    assert {"scan_0", "scan_3", "scan_4"} <= masks(out)
    assert child(scans, out) == 3
    assert statuses(out) == {f"scan_{n}": "refused" if n == 1 else "ok" for n in range(5)}
    (row,) = (row for row in rows(out / "cases.csv") if row["case_id"] == "scan_1")
    assert row["codes"] == "RUN-KILLED"
    assert "--max-memory" in row["message"]
    again = Threshold()
    assert predict(scans, out, again).exit_code == 3
    assert again.calls == []
    asked = Asked(arguments={"max_memory": "1GB"})
    assert predict(scans, out, again, asked=asked).exit_code == 0
    assert len(again.calls) == 1
    assert not (out / NAME).exists()


def run_long(scans: str, out: str) -> None:
    """What a child does that can be asked to stop, with cases longer than anybody waits."""
    model = Threshold(pause_s=60)
    predict_cohort(find_scans(scans), model, Path(out), should_stop=Stop())


def wait_for(word: str, count: int, path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_text().count(word) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_kill_after_a_wish_to_stop_is_not_put_down_to_the_scan(tmp_path: Path):
    scans, out = write_scans(tmp_path / "scans", 1), tmp_path / "out"
    words = [sys.executable, "-c", RUN.replace("run", "run_long"), str(scans), str(out)]
    for night in range(1, TRIES + 1):
        with subprocess.Popen(words, cwd=Path(__file__).parents[2]) as process:
            wait_for("attempt", night, out / NAME)
            process.terminate()
            wait_for("stopped", night, out / NAME)
            process.kill()
    assert not Attempts(out / NAME, {}).lost("scan_0")
    assert predict(scans, out).exit_code == 0


def test_a_case_that_is_begun_after_a_wish_to_stop_is_no_try_either(tmp_path: Path):
    attempts = Attempts(tmp_path / NAME, {})
    attempts.begin("a", "key")
    with attempts.watching(lambda: True):
        wait_for("stopped", 1, tmp_path / NAME)
    attempts.begin("b", "key")
    later = Attempts(tmp_path / NAME, {})
    assert not later.lost("a")
    assert not later.lost("b")
    later.begin("a", "key")
    assert Attempts(tmp_path / NAME, {}).lost("a")


def test_a_run_that_ends_by_itself_leaves_no_attempts(tmp_path: Path):
    scans, out = write_scans(tmp_path / "scans", 3), tmp_path / "out"
    asks = iter([False, True])
    with pytest.raises(Exception, match="Stopped after"):
        predict(scans, out, should_stop=lambda: next(asks, True))
    assert not (out / NAME).exists()


def test_results_are_known_by_the_journal_that_is_kept():
    assert (JOURNAL, f"{FORMAT}\n".encode()) == (of_scans.JOURNAL, of_scans.JOURNAL_BEGINS)


def test_half_a_line_counts_for_nothing(tmp_path: Path):
    path = tmp_path / NAME
    for _ in range(TRIES):
        Attempts(path, {}).begin("a", "key")
    with path.open("a") as file:
        file.write('{"case": "b", "att')
    found = Attempts(path, {})
    assert found.given_up("a", "key")
    assert found.lost("a")
    assert not found.lost("b")
    assert not found.given_up("a", "other files")
    assert not Attempts(path, {"device": "cuda"}).given_up("a", "key")
    found.close()
    assert [json.loads(line)["case"] for line in path.read_text().splitlines()] == ["a"] * TRIES


def test_masks_stay_while_their_scans_cannot_be_reached(tmp_path: Path):
    scans, out = write_scans(tmp_path / "share", 3), tmp_path / "out"
    table = tmp_path / "night.csv"
    lines = [f"scan_{n},share/scan_{n}.nii.gz\n" for n in range(3)]
    table.write_text("case_id,image\n" + "".join(lines))
    assert predict(table, out).exit_code == 0
    scans.rename(tmp_path / "away")
    assert predict(table, out).exit_code == 4
    assert {row["codes"] for row in rows(out / "cases.csv")} == {"IO-MISSING"}
    assert all("stays" in row["message"] for row in rows(out / "cases.csv"))
    assert masks(out) == {"scan_0", "scan_1", "scan_2"}
    (tmp_path / "away").rename(scans)
    back = predict(table, out)
    assert (back.kept, back.exit_code) == (3, 0)


def test_masks_of_another_night_are_counted(tmp_path: Path):
    out = tmp_path / "out"
    assert predict(write_scans(tmp_path / "monday", 3), out).others == 0
    write_scan(tmp_path / "tuesday" / "scan_2.nii.gz")
    write_scan(tmp_path / "tuesday" / "scan_9.nii.gz")
    assert predict(tmp_path / "tuesday", out).others == 2


@pytest.mark.parametrize("error", [BrokenPipeError, SystemExit])
def test_a_listener_that_is_gone_does_not_end_the_run(tmp_path: Path, error: type):
    def gone(*_: object) -> None:
        raise error

    scans, out = write_scans(tmp_path / "scans", 3), tmp_path / "out"
    assert predict(scans, out, report=gone).exit_code == 0


@pytest.mark.parametrize("names", [("kidney_left", "kidney_right"), ("left_atrium", "aorta")])
def test_sides_that_a_scan_does_not_tell_are_not_guessed(tmp_path: Path, names):
    image = nib.load(write_scan(tmp_path / "scans" / "a.nii.gz"))
    image.set_sform(AFFINE, code=0)
    image.set_qform(AFFINE, code=0)
    nib.save(image, tmp_path / "scans" / "a.nii.gz")
    structures = dict(zip(names, (3, 7), strict=True))
    sided = Threshold(plan=Aims(labels=Labels(structures=structures)))
    refused = predict(tmp_path / "scans", tmp_path / "sided", sided)
    assert refused.records[0].codes[0] == "GEO-NOFORM"
    assert refused.exit_code == 4
    waived = predict(tmp_path / "scans", tmp_path / "waived", sided, accept=["GEO-NOFORM"])
    assert waived.exit_code == 0
    assert predict(tmp_path / "scans", tmp_path / "out").exit_code == 0


def test_a_process_that_ends_between_a_record_and_its_tick_loses_no_try(tmp_path: Path):
    scans, out = write_scans(tmp_path / "scans", 2), tmp_path / "out"
    assert predict(scans, out).exit_code == 0
    Attempts(out / NAME, {}).begin("scan_1", "key")  # and no tick, though the journal has it
    assert Attempts(out / NAME, {}).lost("scan_1")
    again = Threshold()
    assert predict(scans, out, again).exit_code == 0
    assert again.calls == []
    assert not (out / NAME).exists()


def test_a_mask_that_was_about_to_get_its_name_is_ours_also_after_a_kill(tmp_path: Path):
    path = tmp_path / ".volunet.begun"
    attempts = Attempts(path, {})
    attempts.begin("a", "key")
    attempts.writes("a", "sum")
    again = Attempts(path, {})
    assert (again.sums_of("a"), again.lost("a")) == ({"sum"}, True)
    again.close()  # it ended by itself, before it came to the case
    later = Attempts(path, {})
    assert (later.sums_of("a"), later.lost("a")) == ({"sum"}, True)
    later.begin("a", "key")
    later.done("a")
    later.close()
    assert not path.exists()
