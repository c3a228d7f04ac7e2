"""A folder of scans becomes masks and tables, whatever is wrong with some of the scans."""

from __future__ import annotations

import csv
import gc
import json
import logging
import os
import signal
import weakref
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.cohort.threshold import AFFINE, SHAPE, Aims, Threshold, write_scan, write_scans
from tests.data.on_disk import META, pipe_at
from volunet.cohort.lock import NAME as LOCK
from volunet.cohort.run_record import Asked
from volunet.cohort.runner import Outcome, predict_cohort
from volunet.data.cases import Scan
from volunet.data.scans import find_scans
from volunet.errors import ConfigError, Stopped, TakenOver
from volunet.findings import Refused
from volunet.io.masks import read_mask


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def statuses(out: Path) -> dict[str, str]:
    return {row["case_id"]: row["status"] for row in rows(out / "cases.csv")}


def predict(scans: Path, out: Path, model: Threshold | None = None, **more: object) -> Outcome:
    return predict_cohort(find_scans(scans), model or Threshold(), out, **more)  # type: ignore[arg-type]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Good scans between bad ones."""
    folder = tmp_path / "scans"
    whole = write_scan(folder / "a_good.nii.gz").read_bytes()
    (folder / "b_truncated.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_scan(folder / "c_nan.nii")
    with (folder / "c_nan.nii").open("r+b") as file:
        file.seek(280)
        file.write(np.full(12, np.nan, "<f4").tobytes())
    (folder / "d_page.nii.gz").write_bytes(b"<!DOCTYPE html><html>Please log in</html>")
    write_scan(folder / "e_plane.nii.gz", shape=(9, 8))
    write_scan(folder / "site 1" / "f_thick.nii.gz", affine=np.diag([2.0, 2, 9, 1]))
    return folder


def test_one_bad_scan_never_stops_the_rest(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = predict(mixed, out, asked=Asked(root=mixed))
    found = {row["case_id"]: row for row in rows(out / "cases.csv")}
    assert {name: (row["status"], row["codes"].split(";")[0]) for name, row in found.items()} == {
        "a_good": ("ok", ""),
        "b_truncated": ("refused", "IO-TRUNC"),
        "c_nan": ("refused", "GEO-AFFINE"),
        "d_page": ("refused", "IO-FORMAT"),
        "e_plane": ("refused", "IMG-2D"),
        "site 1__f_thick": ("ok_with_findings", "OOD-SPACING"),
    }
    assert outcome.exit_code == 3
    assert outcome.counts == {"ok": 1, "ok_with_findings": 1, "refused": 4}
    assert {p.name for p in out.iterdir()} == {
        "a_good.nii.gz",
        "site 1__f_thick.nii.gz",
        "cases.csv",
        "measurements.csv",
        "run.json",
        "journal.jsonl",
    }
    assert found["site 1__f_thick"]["input"] == "site 1/f_thick.nii.gz"
    assert found["site 1__f_thick"]["output"] == "site 1__f_thick.nii.gz"
    assert found["b_truncated"]["output"] == ""
    assert float(found["a_good"]["seconds"]) >= 0


def test_a_pipe_or_a_header_without_a_name_for_its_voxels_is_a_row(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 1), tmp_path / "out"
    (scans / "nameless.mhd").write_bytes(META.replace(b"a.raw", b""))
    with pipe_at(scans / "pipe.nii.gz"):
        predict(scans, out)
    found = {row["case_id"]: (row["status"], row["codes"]) for row in rows(out / "cases.csv")}
    refused = ("refused", "IO-FORMAT")
    assert found == {"nameless": refused, "pipe": refused, "scan_0": ("ok", "")}


def test_masks_lie_on_the_grid_of_their_scans_and_are_measured(tmp_path: Path) -> None:
    scan = nib.load(write_scan(tmp_path / "scans" / "one.nii.gz"))
    out = tmp_path / "out"
    outcome = predict(tmp_path / "scans", out)
    assert outcome.exit_code == 0
    assert outcome.records[0].how == {"threshold": True}
    voxels = np.asarray(scan.dataobj)
    mask = nib.load(out / "one.nii.gz")
    np.testing.assert_array_equal(
        np.asarray(mask.dataobj), np.where(voxels > 100, 7, np.where(voxels > 0, 3, 0))
    )
    np.testing.assert_allclose(mask.affine, AFFINE)
    bright, very = rows(out / "measurements.csv")
    voxels_of = {"bright": ((voxels > 0) & (voxels <= 100)).sum(), "very": (voxels > 100).sum()}
    for row, name, value in ((bright, "bright", "3"), (very, "very", "7")):
        assert (row["case_id"], row["label"], row["value"]) == ("one", name, value)
        assert int(row["voxels"]) == voxels_of[name]
        assert float(row["volume_ml"]) == pytest.approx(voxels_of[name] * 0.009)  # 2 x 1.5 x 3 mm


def test_a_structure_that_is_absent_has_no_voxels(tmp_path: Path) -> None:
    path = tmp_path / "scans" / "dark.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(np.full(SHAPE, -5, np.int16), AFFINE), path)
    predict(path, tmp_path / "out")
    assert [row["voxels"] for row in rows(tmp_path / "out" / "measurements.csv")] == ["0", "0"]


def test_no_case_ok_is_exit_code_4(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "page.nii.gz").write_bytes(b"<html>")
    assert predict(scans, tmp_path / "out").exit_code == 4


def test_no_scan_at_all_gives_empty_tables_and_exit_code_4(tmp_path: Path) -> None:
    outcome = predict_cohort([], Threshold(), tmp_path / "out")
    assert (outcome.exit_code, outcome.records) == (4, ())
    assert (tmp_path / "out" / "cases.csv").read_text() == (
        "case_id,status,codes,message,seconds,peak_gb,input,output\n"
    )


def test_unusual_names_stay_as_they_are(tmp_path: Path) -> None:
    names = ["Müller, Ö", 'say "hi"', "a.b.c", "-rf", "日本", "new\nline", "tab\t", "x" * 240]
    for name in names:
        write_scan(tmp_path / "scans" / f"{name}.nii.gz")
    out = tmp_path / "out"
    assert predict(tmp_path / "scans", out).exit_code == 0
    assert statuses(out) == dict.fromkeys(names, "ok")
    assert {p.name for p in out.glob("*.nii.gz")} == {f"{name}.nii.gz" for name in names}
    again = Threshold()
    assert predict(tmp_path / "scans", out, again).kept == len(names)
    assert not again.calls


def test_a_name_too_long_for_the_disk_is_a_row(tmp_path: Path) -> None:
    deep = tmp_path / "scans" / ("d" * 200)
    write_scan(deep / f"{'x' * 60}.nii.gz")
    write_scan(tmp_path / "scans" / "z.nii.gz")
    out = tmp_path / "out"
    assert predict(tmp_path / "scans", out).exit_code == 3
    failed = rows(out / "cases.csv")[0]
    assert failed["status"] == "failed"
    assert "too long" in failed["message"]


def test_names_that_are_no_text_do_not_stop_a_run(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    write_scan(scans / "good.nii.gz")
    os.rename(write_scan(scans / "bad.nii.gz"), os.fsencode(scans) + b"/b\xe4d.nii.gz")
    assert predict(scans, tmp_path / "out").exit_code == 0
    assert statuses(tmp_path / "out") == {"b\ufffdd": "ok", "good": "ok"}


@pytest.mark.parametrize(
    ("status", "code", "use"),
    [
        ("oom", "RUN-OOM", lambda call: torch.empty(10**15)),
        ("oom", "RUN-OOM", lambda call: np.empty(10**15)),
        ("failed", "RUN-FAILED", lambda call: 1 // 0),
        ("failed", "RUN-FAILED", lambda call: torch.zeros(2) + torch.zeros(3)),
    ],
)
def test_a_case_that_fails_is_a_row_with_one_line(
    tmp_path: Path, status: str, code: str, use: object
) -> None:
    def second(call: int) -> None:
        if call == 2:
            use(call)  # type: ignore[operator]

    write_scans(tmp_path / "scans", 3)
    out = tmp_path / "out"
    assert predict(tmp_path / "scans", out, Threshold(before=second)).exit_code == 3
    assert statuses(out) == {"scan_0": "ok", "scan_1": status, "scan_2": "ok"}
    row = rows(out / "cases.csv")[1]
    assert row["codes"] == code
    assert row["message"]
    assert "\n" not in row["message"]
    again = Threshold()
    assert predict(tmp_path / "scans", out, again).exit_code == 0
    assert len(again.calls) == 1


def test_a_traceback_goes_to_the_log_and_no_folder_to_either(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = write_scan(tmp_path / "Jane Doe" / "scan.nii.gz")

    def fail(call: int) -> None:
        raise FileNotFoundError(2, "No such file", str(scan))

    out = tmp_path / "out"
    caplog.set_level(logging.INFO, "volunet")
    predict(scan.parent, out, Threshold(before=fail))
    assert "Traceback" in caplog.text
    assert {r.levelno for r in caplog.records if "Traceback" in r.getMessage()} == {logging.INFO}
    assert "'scan.nii.gz'" in rows(out / "cases.csv")[0]["message"]
    texts = [caplog.text, *(p.read_text() for p in out.iterdir())]
    assert not any("Jane" in text or "Traceback" in text for text in texts[1:])
    assert "Jane" not in texts[0]


def test_several_files_are_one_case_of_a_model_with_several_channels(tmp_path: Path) -> None:
    for channel in range(2):
        write_scan(tmp_path / "scans" / f"p_{channel:04d}.nii.gz")
    model = Threshold(plan=Aims(channels=("T1 MR", "T2 MR")))
    scans = find_scans(tmp_path / "scans", channels=2)
    out = tmp_path / "out"
    assert predict_cohort(scans, model, out).exit_code == 0
    assert rows(out / "cases.csv")[0]["input"] == "p_0000.nii.gz;p_0001.nii.gz"
    wrong = predict_cohort([Scan(case_id="p", images=scans[0].images[:1])], model, out)
    assert wrong.records[0].codes == ("IMG-CHANNELS",)
    assert not (out / "p.nii.gz").exists(), "the mask of other input is gone"


def test_a_waiver_is_used_and_told(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(mixed, out)
    predict(mixed, out, accept=["IMG-2D"])
    row = rows(out / "cases.csv")[4]
    assert (row["status"], row["codes"].split(";")[0]) == ("ok_with_findings", "IMG-2D")
    assert json.loads((out / "run.json").read_text())["accepted"] == ["IMG-2D"]


def test_sigterm_stops_after_the_case_at_work(tmp_path: Path) -> None:
    asked: list[int] = []
    earlier = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))

    def send(call: int) -> None:
        if call == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    scans, out = write_scans(tmp_path / "scans", 4), tmp_path / "out"
    try:
        with pytest.raises(Stopped, match="2 of 4"):
            predict(scans, out, Threshold(before=send), should_stop=lambda: bool(asked))
    finally:
        signal.signal(signal.SIGTERM, earlier)
    assert statuses(out) == {"scan_0": "ok", "scan_1": "ok", "scan_2": "", "scan_3": ""}
    assert "goes on" in rows(out / "cases.csv")[2]["message"]
    rest = Threshold()
    outcome = predict(scans, out, rest)
    assert (outcome.exit_code, outcome.kept, len(rest.calls)) == (0, 2, 2)


def test_a_full_disk_stops_the_run_before_the_case_is_told_done(tmp_path: Path) -> None:
    def fill(call: int) -> None:
        if call == 2:
            with open("/dev/full", "w") as file:
                file.write("x")

    scans, out = write_scans(tmp_path / "scans", 4), tmp_path / "out"
    with pytest.raises(Stopped, match="disk is full"):
        predict(scans, out, Threshold(before=fill))
    told = statuses(out)
    del told["scan_2"]  # it was segmented while the mask before it could not be written
    assert told == {"scan_0": "ok", "scan_1": "", "scan_3": ""}
    assert predict(scans, out).exit_code == 0


def test_each_case_is_reported_once(mixed: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    out = tmp_path / "out"
    for _ in range(2):
        predict(mixed, out, report=lambda r, done, total: heard.append((r.case_id, done, total)))
    names = list(statuses(out))
    assert heard == [(name, n + 1, 6) for n, name in enumerate(names)] * 2


def test_an_interrupt_leaves_tables_of_what_is_done(tmp_path: Path) -> None:
    def interrupt(call: int) -> None:
        if call == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict(write_scans(tmp_path / "scans", 3), out, Threshold(before=interrupt))
    assert statuses(out) == {"scan_0": "ok", "scan_1": "", "scan_2": ""}


def test_nothing_is_written_into_a_folder_that_another_process_took_over(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def lose(call: int) -> None:
        (out / LOCK).write_text("another's")
        before.update((path.name, path.read_bytes()) for path in out.iterdir())

    before: dict[str, bytes] = {}
    with pytest.raises(TakenOver):
        predict(write_scans(tmp_path / "scans", 1), out, Threshold(before=lose))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_scans_are_never_overwritten(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans", 2)
    before = {p.name: p.read_bytes() for p in scans.iterdir()}
    for out in (scans, tmp_path / "scans" / ".." / "scans"):
        with pytest.raises(ConfigError, match="Choose another folder"):
            predict(scans, out)
    assert {p.name: p.read_bytes() for p in scans.iterdir()} == before


def test_masks_that_volunet_did_not_make_are_never_overwritten(tmp_path: Path) -> None:
    scans, labels = write_scans(tmp_path / "imagesTr", 2), write_scans(tmp_path / "labelsTr", 2)
    before = {p.name: p.read_bytes() for p in labels.iterdir()}
    with pytest.raises(ConfigError, match="2 files that would be overwritten"):
        predict(scans, labels)
    assert {p.name: p.read_bytes() for p in labels.iterdir()} == before


def test_results_below_the_scans_are_not_taken_for_scans(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans", 2)
    out = scans / "masks"
    predict(scans, out)
    again = Threshold()
    outcome = predict(scans, out, again)
    assert [record.case_id for record in outcome.records] == ["scan_0", "scan_1"]
    assert not again.calls
    write_scan(out / "stray.nii.gz")
    with pytest.raises(ConfigError, match="stray"):
        predict(scans, out)


def test_two_scans_of_one_name_are_refused(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "scan.nii.gz")
    twice = [Scan(case_id=name, images=(path,)) for name in ("Case", "case")]
    with pytest.raises(Refused, match="SET-DUPLICATE-ID"):
        predict_cohort(twice, Threshold(), tmp_path / "out")


def test_the_masks_can_be_read_as_label_maps(tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = Threshold()
    predict(write_scans(tmp_path / "scans", 1), out, model)
    assert read_mask(out / "scan_0.nii.gz", model.plan.labels).findings == ()


def test_a_scan_that_failed_is_not_held_while_the_next_one_is_segmented(tmp_path: Path) -> None:
    """Without a collection of garbage: gigabytes cannot wait for one."""
    held: list[weakref.ref[object]] = []
    alive: list[bool] = []

    class Forgetful(Threshold):
        def __call__(self, scan, *, accept=()):  # type: ignore[no-untyped-def]
            alive.append(any(ref() is not None for ref in held))
            held.append(weakref.ref(scan.voxels))
            if len(held) < 3:
                try:
                    raise MemoryError(f"no room for {scan.grid.shape}")
                except MemoryError as error:
                    raise RuntimeError("while it was segmented") from error
            return super().__call__(scan, accept=accept)

    scans = write_scans(tmp_path / "scans", 3)
    gc.disable()
    try:
        predict(scans, tmp_path / "out", Forgetful(overlaps=False))
    finally:
        gc.enable()
    assert len(held) == 3
    assert alive == [False, False, False]
    text = (tmp_path / "out" / "cases.csv").read_text()
    assert text.count("while it was segmented") == 2
