"""A run that was stopped, killed or done before goes on without doing anything twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.cohort.test_runner import predict, rows, statuses
from tests.cohort.threshold import Threshold, write_scan, write_scans
from tests.data.on_disk import write_detached, write_nifti
from volunet.io.masks import read_mask
from volunet.io.write import write
from volunet.space.grid import Grid
from volunet.space.volume import Volume

ROOT = Path(__file__).parents[2]


def child(
    scans: Path, out: Path, *, pause_s: float = 0, dies_at: int = 0, most_bytes: int = 0
) -> subprocess.Popen[bytes]:
    arguments = [str(a) for a in (scans, out, pause_s, dies_at, most_bytes)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cohort.threshold", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )


def finished(out: Path) -> int:
    journal = out / "journal.jsonl"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def results(out: Path) -> dict[str, object]:
    """All that a run leaves and that does not depend on the clock."""
    kept = ("case_id", "status", "codes", "message", "input", "output")
    masks = {p.name: p.read_bytes() for p in out.glob("*.nii.gz")}
    cases = [[row[name] for name in kept] for row in rows(out / "cases.csv")]
    names = sorted(p.name for p in out.iterdir())
    return {"files": names, "cases": cases, "measured": rows(out / "measurements.csv")} | masks


def test_finished_cases_are_not_done_again(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 3), tmp_path / "out"
    predict(scans, out)
    before, made = results(out), {p: p.stat().st_mtime_ns for p in out.glob("*.nii.gz")}
    again = Threshold()
    outcome = predict(scans, out, again)
    assert (outcome.kept, outcome.exit_code, again.calls) == (3, 0, [])
    assert results(out) == before
    assert {p: p.stat().st_mtime_ns for p in out.glob("*.nii.gz")} == made


def test_seconds_of_a_kept_case_are_those_it_took(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 1), tmp_path / "out"
    predict(scans, out, Threshold(pause_s=0.2))
    predict(scans, out)
    assert float(rows(out / "cases.csv")[0]["seconds"]) >= 0.2


def test_a_damaged_or_missing_mask_is_made_again(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 4), tmp_path / "out"
    predict(scans, out)
    before = results(out)
    damaged = bytearray((out / "scan_1.nii.gz").read_bytes())
    damaged[-20] ^= 1
    (out / "scan_1.nii.gz").write_bytes(damaged)
    (out / "scan_2.nii.gz").unlink()
    again = Threshold()
    assert predict(scans, out, again).kept == 2
    assert len(again.calls) == 2
    assert results(out) == before


def test_a_mask_cut_short_is_made_again_however_well_it_packs(tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    dark = np.full((200, 200, 100), -9, dtype=np.int16)
    dark[0] = -8
    write_nifti(scans / "a.nii.gz", dark)
    predict(scans, out)
    whole = (out / "a.nii.gz").read_bytes()
    (out / "a.nii.gz").write_bytes(whole[: len(whole) // 3])
    outcome = predict(scans, out)
    assert (outcome.kept, outcome.records[0].status) == (0, "ok")
    assert (out / "a.nii.gz").read_bytes() == whole


def test_changed_input_is_done_again(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 3), tmp_path / "out"
    predict(scans, out)
    other = write_scan(tmp_path / "elsewhere" / "other.nii.gz")
    (scans / "scan_1.nii.gz").write_bytes(other.read_bytes())
    again = Threshold()
    assert predict(scans, out, again).kept == 2
    assert len(again.calls) == 1
    predict(other, tmp_path / "out of it alone")
    alone = (tmp_path / "out of it alone" / "other.nii.gz").read_bytes()
    assert (out / "scan_1.nii.gz").read_bytes() == alone


def test_voxels_that_changed_beside_their_header_are_done_again(tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    write_detached(scans / "a.mhd", bytes(range(24)))
    predict(scans, out)
    assert predict(scans, out).kept == 1
    write_detached(scans / "a.mhd", bytes(range(1, 25)))
    assert predict(scans, out).kept == 0


def test_another_model_does_all_again(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 2), tmp_path / "out"
    predict(scans, out)
    again = Threshold(identity="other")
    assert (predict(scans, out, again).kept, len(again.calls)) == (0, 2)


def test_waivers_count_for_cases_that_they_can_change(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 2), tmp_path / "out"
    write_scan(scans / "flat.nii.gz", shape=(9, 8))
    assert [record.status for record in predict(scans, out).records] == ["refused", "ok", "ok"]
    assert predict(scans, out, accept=["GEO-SHEAR"]).kept == 3
    more = predict(scans, out, accept=["IMG-2D"])
    assert (more.kept, more.records[0].status) == (2, "ok_with_findings")
    assert predict(scans, out).records[0].status == "refused"


def test_a_mask_drawn_or_changed_by_hand_stays(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 3), tmp_path / "out"
    (scans / "scan_0.nii.gz").write_bytes(b"no scan")
    predict(scans, out)
    drawn, changed = (out / f"scan_{n}.nii.gz" for n in (0, 1))
    for path in (drawn, changed):
        write(Volume(np.full((1, 5, 4, 3), 7, np.uint8), Grid((5, 4, 3), np.eye(4))), path)
    before = {path: path.read_bytes() for path in (drawn, changed)}
    for model in (Threshold(), Threshold(identity="other")):
        outcome = predict(scans, out, model)
        assert outcome.records[1].codes == ("RUN-FOREIGN",)
        assert [r.status for r in outcome.records] == ["refused", "refused", "ok"]
        assert {path: path.read_bytes() for path in (drawn, changed)} == before
    changed.unlink()
    assert [r.status for r in predict(scans, out).records] == ["refused", "ok", "ok"]
    back = changed.read_bytes()
    predict(scans, out, Threshold(identity="other"))
    changed.write_bytes(back)  # a mask of volunet's own, of another day
    assert [r.status for r in predict(scans, out).records] == ["refused", "ok", "ok"]


def test_a_mask_drawn_for_a_scan_that_killed_the_process_stays(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 2), tmp_path / "out"
    child(scans, out, dies_at=1).communicate(timeout=60)
    drawn = write(
        Volume(np.full((1, 5, 4, 3), 7, np.uint8), Grid((5, 4, 3), np.eye(4))),
        out / "scan_0.nii.gz",
    )
    before = drawn.read_bytes()
    for _ in range(3):
        assert predict(scans, out).records[0].codes == ("RUN-FOREIGN",)
        assert drawn.read_bytes() == before


def test_a_refused_scan_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    whole = write_scan(scans / "a.nii.gz").read_bytes()
    (scans / "a.nii.gz").write_bytes(whole[:-30])
    assert predict(scans, out).kept == 0
    assert predict(scans, out).kept == 1
    (scans / "a.nii.gz").write_bytes(whole)
    assert predict(scans, out).exit_code == 0


def test_a_scan_refused_for_its_name_is_done_once_it_is_renamed(tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    packed = write_scan(scans / "a.nii.gz").rename(scans / "a.nii")
    assert predict(scans, out).records[0].codes == ("IO-NAME",)
    packed.rename(scans / "a.nii.gz")
    assert predict(scans, out).exit_code == 0


def test_the_mask_of_a_scan_that_is_now_refused_is_gone(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 2), tmp_path / "out"
    predict(scans, out)
    whole = (scans / "scan_0.nii.gz").read_bytes()
    (scans / "scan_0.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert predict(scans, out).exit_code == 3
    assert [p.name for p in out.glob("*.nii.gz")] == ["scan_1.nii.gz"]
    assert {row["case_id"] for row in rows(out / "measurements.csv")} == {"scan_1"}


def test_a_process_killed_while_it_writes_leaves_no_half_file(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 5), tmp_path / "out"
    process = child(scans, out, dies_at=3)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    masks = {p.name for p in out.glob("*.nii.gz")}  # that of scan_1 may have been under way
    assert {"scan_0.nii.gz"} <= masks <= {"scan_0.nii.gz", "scan_1.nii.gz"}
    for path in out.glob("*.nii.gz"):
        read_mask(path)
    assert 1 <= len(list(out.glob(".*.part"))) <= 2
    assert json.loads((out / "run.json").read_text())["ended"] is None
    rest, done = Threshold(), finished(out)
    outcome = predict(scans, out, rest)
    assert done in (1, 2)
    assert (outcome.exit_code, outcome.kept, len(rest.calls)) == (0, done, 5 - done)
    predict(scans, tmp_path / "whole")
    assert results(out) == results(tmp_path / "whole")


def test_a_process_killed_at_any_moment_loses_one_case_at_most(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 12), tmp_path / "out"
    for wanted, delay_s in ((1, 0.0), (3, 0.07)):
        process = child(scans, out, pause_s=0.1)
        deadline = time.monotonic() + 60
        while finished(out) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        for path in out.glob("*.nii.gz"):
            read_mask(path)
    done = finished(out)
    assert 3 <= done < 12
    rest = Threshold()
    outcome = predict(scans, out, rest)
    assert (outcome.exit_code, outcome.kept, len(rest.calls)) == (0, done, 12 - done)
    predict(scans, tmp_path / "whole")
    assert results(out) == results(tmp_path / "whole")


def test_a_mask_that_does_not_fit_on_the_disk_is_a_row_and_no_file(tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    write_scan(scans / "large.nii.gz", shape=(64, 64, 64))
    write_scan(scans / "small.nii.gz")
    process = child(scans, out, most_bytes=20_000)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 3, log.decode()
    assert statuses(out) == {"large": "failed", "small": "ok"}
    assert "full" in rows(out / "cases.csv")[0]["message"]
    assert [p.name for p in out.iterdir() if "large" in p.name] == []
    assert predict(scans, out).kept == 1
    assert statuses(out) == {"large": "ok", "small": "ok"}
