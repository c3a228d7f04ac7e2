"""From what goes wrong to an exit code and advice."""

import errno
import json
import shutil

import pytest

from tests.cli.command import SAMPLE, SMOKE, volunet
from tests.data.on_disk import touch, write_json, write_pairs
from volunet.cli.exits import code_of
from volunet.cli.main import app
from volunet.errors import WriteError
from volunet.findings import Refused, Severity, finding


@pytest.fixture
def pairs(tmp_path):
    """A dataset of two good cases."""
    root = write_pairs(tmp_path / "pairs", ["a", "b"])
    write_json(root / "labels.json", {"labels": {"one": 1, "two": 2}})
    return root


def lines_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def caused(number):
    error = WriteError("not written")
    error.__cause__ = OSError(number, "why")
    return error


def refused(*codes):
    return Refused([finding(code, "why", severity=Severity.REFUSE) for code in codes])


MASKS = SAMPLE / "mr" / "labels"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileExistsError(errno.EEXIST, "File exists", "out"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 75),
        (OSError("a library's own"), 1),
        (caused(errno.EACCES), 2),
        (caused(errno.ENOSPC), 75),
        (caused(errno.EIO), 75),
        (OSError(errno.ESTALE, "Stale file handle", "out"), 75),
        (OSError(errno.EMFILE, "Too many open files"), 1),
        (refused("SET-UNPAIRED"), 2),
        (refused("SET-UNPAIRED", "IO-FORMAT"), 4),
        (refused("SET-EMPTY"), 4),
        (WriteError("was written and cannot be read back"), 75),
    ],
)
def test_a_place_that_cannot_be_used_is_a_mistake_and_a_full_disk_is_not(error, code):
    assert code_of(error) == code


@pytest.mark.parametrize(
    "words",
    [
        ("train", SAMPLE / "mr", "-r", SMOKE, "-o", "FILE"),
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (
                ("evaluate", "-p", MASKS, "-r", MASKS, "-o", "FILE"),
                ("plan", SAMPLE / "mr", "-r", SMOKE, "-o", "FILE/plan.json"),
                ("demo", "-o", "FILE"),
            )
        ),
    ],
)
def test_a_file_where_a_folder_is_needed_is_exit_2_with_advice(words, tmp_path):
    taken = touch(tmp_path / "taken")
    done = volunet(*(str(w).replace("FILE", str(taken)) for w in words), home=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Choose another" in done.stderr
    assert "did not expect" not in done.stderr
    assert taken.read_bytes() == b"x"


def test_check_tells_what_the_layout_refuses_and_looks_at_the_other_cases(pairs, tmp_path):
    touch(pairs / "images" / "alone.nii.gz")
    (pairs / "images" / "b.nii.gz").write_bytes(b"<html>")
    done = volunet("check", pairs, "--json", home=tmp_path)
    assert done.returncode == 3, done.stderr
    found = {line["code"]: line for line in lines_of(done)}
    assert {"SET-UNPAIRED", "IO-FORMAT"} <= set(found)
    assert found["SET-UNPAIRED"]["severity"] == "refuse"
    assert "accepted" not in found["SET-UNPAIRED"]
    assert "2 cases" in done.stderr


@pytest.mark.parametrize("verb", ["check", "info"])
def test_a_dataset_that_is_not_whole_is_told_what_it_lacks(verb, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("case_id,image\na,a.nii.gz\n")
    done = volunet(verb, table, home=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "'label'" in done.stderr
    raw = tmp_path / "raw"
    touch(raw / "imagesTr" / "a_0000.nii.gz")
    write_json(raw / "dataset.json", {"channel_names": {"0": "CT"}, "labels": {"liver": 1}})
    done = volunet(verb, raw, home=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "no labelsTr/" in done.stderr


def test_evaluate_is_exit_4_where_every_case_is_refused_and_3_where_some_are(pairs, tmp_path):
    masks = tmp_path / "masks"
    shutil.copytree(pairs / "labels", masks)
    words = ("evaluate", "-p", masks, "-r", pairs / "labels", "-o", tmp_path / "scores", "--json")
    touch(masks / "a.nii.gz")
    some = volunet(*words, home=tmp_path)
    assert some.returncode == 3, some.stderr
    *findings, summary = lines_of(some)
    assert {found["case"] for found in findings} == {"a"}
    assert summary["cases"]["n_scored"] == 1
    touch(masks / "b.nii.gz")
    none = volunet(*words, home=tmp_path)
    assert none.returncode == 4, none.stderr


def test_plan_gives_its_findings_as_json_before_the_plan(pairs, tmp_path):
    (pairs / "images" / "b.nii.gz").write_bytes(b"<html>")
    done = volunet("plan", pairs, "-r", SMOKE, "-d", "cpu", "--json", home=tmp_path)
    assert done.returncode == 3, done.stderr
    *findings, plan = lines_of(done)
    assert "IO-FORMAT" in {found["code"] for found in findings}
    assert plan["patch"]


def test_plan_tells_scripts_that_the_largest_scan_does_not_fit_a_limit(pairs, tmp_path):
    words = ("plan", pairs, "-r", SMOKE, "-d", "cpu", "--json", "-o", tmp_path / "plan.json")
    for limit, code in (("100MB", 3), ("100GB", 0)):
        done = volunet(*words, "--max-memory", limit, home=tmp_path)
        assert done.returncode == code, done.stderr
        assert ("cannot be segmented in 0.1 GB" in done.stderr) == (code == 3)
        assert lines_of(done)[-1] == json.loads((tmp_path / "plan.json").read_text())


def test_the_list_of_verbs_cuts_no_summary(tmp_path):
    listed = volunet("--help", home=tmp_path, COLUMNS="80").stdout.splitlines()
    for command in app.registered_commands:
        verb = command.callback.__name__.replace("_", "-")
        line = next(line for line in listed if line.split()[:1] == [verb])
        assert line.endswith(".")
        assert not line.endswith("...")


def test_what_refuses_everything_is_told_to_scripts_too(pairs, tmp_path):
    touch(pairs / "images" / "alone.nii.gz")
    done = volunet("plan", pairs, "--json", home=tmp_path)
    assert done.returncode == 2, done.stderr
    assert [line["code"] for line in lines_of(done)] == ["SET-UNPAIRED"]
