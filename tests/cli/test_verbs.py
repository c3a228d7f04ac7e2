"""The main job by the command: every verb, its files and its exit codes."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.cli.command import SAMPLE, SMOKE, volunet


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home):
    """A run of the smoke pipeline."""
    done = volunet("train", SAMPLE / "mr", "-o", home / "run", "-r", SMOKE, "-d", "cpu", home=home)
    assert done.returncode == 0, done.stderr
    return home / "run"


@pytest.fixture(scope="module")
def scans(home):
    """Two good scans, one cut short, one that is no scan."""
    folder = home / "scans"
    folder.mkdir()
    source = sorted((SAMPLE / "mr" / "images").glob("*.nii.gz"))
    for path in source[:2]:
        shutil.copy(path, folder)
    (folder / "cut.nii.gz").write_bytes(source[2].read_bytes()[:3000])
    (folder / "page.nii.gz").write_text("<!DOCTYPE html><html>404</html>")
    return folder


@pytest.fixture(scope="module")
def masks(home, run, scans):
    """What predict makes of them."""
    out = home / "masks"
    return out, volunet("predict", "-i", scans, "-m", run, "-o", out, home=home)


def test_train_leaves_the_files_of_the_contract(run):
    for name in ("model/model.json", "plan.json", "splits.json", "history.csv", "run.json"):
        assert (run / name).is_file(), name
    for name in ("metrics.csv", "tidy.json"):
        assert (run / "validation" / name).is_file(), name


def test_the_same_train_command_on_an_ended_run_changes_nothing(run, home):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    done = volunet("train", SAMPLE / "mr", "-o", run, "-r", SMOKE, "-d", "cpu", home=home)
    assert done.returncode == 0
    assert "has ended already" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before


def test_another_setting_on_the_same_run_is_a_usage_error_that_names_it(run, home):
    done = volunet("train", SAMPLE / "mr", "-o", run, "-r", SMOKE, "--budget", "7steps", home=home)
    assert done.returncode == 2
    assert "recipe.budget" in done.stderr
    other = volunet("train", SAMPLE / "ct", "-o", run, "-r", SMOKE, home=home)
    assert other.returncode == 2
    assert "cases." in other.stderr


def test_predict_writes_a_row_for_every_input_and_masks_for_the_good_ones(masks, scans):
    out, done = masks
    assert done.returncode == 3, done.stderr
    with (out / "cases.csv").open() as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 4
    assert rows["cut"]["status"] == rows["page"]["status"] == "refused"
    assert "IO-TRUNC" in rows["cut"]["codes"]
    assert "IO-FORMAT" in rows["page"]["codes"]
    assert "Traceback" not in done.stderr
    for scan in scans.glob("*.nii.gz"):
        mask = out / scan.name
        assert mask.is_file() == rows[scan.name.removesuffix(".nii.gz")]["status"].startswith("ok")
        if mask.is_file():
            image, labels = nib.load(scan), nib.load(mask)
            np.testing.assert_array_equal(image.affine, labels.affine)
            assert image.shape == labels.shape
            assert labels.get_data_dtype() == np.uint8


def test_predict_keeps_what_was_asked_and_names_scans_below_their_folder(run, home, tmp_path):
    source = min((SAMPLE / "mr" / "images").glob("*.nii.gz"))
    scan = tmp_path / "scans" / "day 1" / source.name
    scan.parent.mkdir(parents=True)
    shutil.copy(source, scan)
    out = tmp_path / "out"
    done = volunet(
        "predict", "-i", tmp_path / "scans", "-m", run, "-o", out, "-d", "cpu", home=home
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((out / "run.json").read_text())
    assert told["device"] == "cpu"
    assert told["arguments"] == {
        "input": "scans", "model": "run", "output": "out", "device": "cpu", "accept": [],
        "engine": "auto", "precision": None, "effort": None, "max_memory": None,
        "roi": [], "deadline": None, "everywhere": False,
    }  # fmt: skip
    with (out / "cases.csv").open() as file:
        assert [row["input"] for row in csv.DictReader(file)] == [f"day 1/{source.name}"]


def test_train_measures_what_fast_and_best_are_and_predict_says_what_they_cost(run, home, tmp_path):
    model = json.loads((run / "model" / "model.json").read_text())
    looks = [row["look"]["overlap"] for row in model["calibration"]["rows"]]
    assert looks[0] == model["plan"]["overlap"]
    assert 0.25 in looks
    assert json.loads((run / "run.json").read_text())["calibration_s"] > 0
    source = min((SAMPLE / "mr" / "images").glob("*.nii.gz"))
    words = ("predict", "-i", source, "-m", run, "-o", tmp_path, "--engine", "torch", "--fast")
    done = volunet(*words, home=home)
    assert done.returncode == 0, done.stderr
    assert "fast: " in done.stderr
    assert "held-out case" in " ".join(done.stderr.split())
    assert json.loads((tmp_path / "run.json").read_text())["arguments"]["effort"] == "fast"


def test_predict_again_does_nothing_twice(masks, run, scans, home):
    out, _ = masks
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.nii.gz")}
    done = volunet("predict", "-i", scans, "-m", run, "-o", out, home=home)
    assert done.returncode == 3
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.nii.gz")} == before


def test_only_bad_scans_is_exit_4(run, home, scans, tmp_path):
    done = volunet("predict", "-i", scans / "cut.nii.gz", "-m", run, "-o", tmp_path, home=home)
    assert done.returncode == 4


def test_evaluate_scores_and_tells_what_is_missing(masks, home, tmp_path):
    out, _ = masks
    done = volunet("evaluate", "-p", out, "-r", SAMPLE / "mr" / "labels", "-o", tmp_path, home=home)
    assert done.returncode == 3
    assert "missing" in done.stderr
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["case_id"] for row in rows if row["status"] == "missing"}
    waived = volunet(
        "evaluate", "-p", out, "-r", SAMPLE / "mr" / "labels", "-o", tmp_path, "--only-predicted",
        "--json", home=home,
    )  # fmt: skip
    assert waived.returncode == 0, waived.stderr
    assert json.loads(waived.stdout)["labels"]


def test_plan_refuses_to_mirror_sides_as_train_does(home, tmp_path):
    shutil.copytree(SAMPLE / "mr", data := tmp_path / "data")
    told = json.loads((data / "labels.json").read_text())
    (data / "labels.json").write_text(json.dumps({k: v for k, v in told.items() if k != "pairs"}))
    mirrored = ("--set", "training.augmentation.mirror=[0]")
    done = volunet("plan", data, "-r", SMOKE, *mirrored, home=home)
    assert done.returncode == 2
    assert "turns left into right" in done.stderr


def test_plan_writes_a_plan_that_train_takes(home, tmp_path):
    plan = tmp_path / "plan.json"
    done = volunet("plan", SAMPLE / "mr", "-r", SMOKE, "-o", plan, "-d", "cpu", home=home)
    assert done.returncode == 0, done.stderr
    assert "peak memory of training" in done.stdout
    made = json.loads(plan.read_text())
    assert made["patch"] == [16, 16, 16]
    run = tmp_path / "run" / "plan.json"
    run.parent.mkdir()
    run.write_text(json.dumps(made | {"batch": 1}))  # as a person may
    words = ("-r", SMOKE, "-o", run.parent, "-d", "cpu", "--budget", "1steps")
    done = volunet("train", SAMPLE / "mr", *words, home=home)
    assert done.returncode == 0, done.stderr
    assert json.loads((run.parent / "run.json").read_text())["made_from"]["plan"]["batch"] == 1


def test_check_tells_nothing_of_a_good_dataset_and_codes_of_a_bad_one(home, scans):
    good = volunet("check", SAMPLE / "mr", home=home)
    assert good.returncode == 0, good.stderr
    bad = volunet("check", scans, "--json", home=home)
    assert bad.returncode == 3
    codes = {json.loads(line)["code"] for line in bad.stdout.splitlines()}
    assert {"IO-TRUNC", "IO-FORMAT"} <= codes


@pytest.mark.parametrize(
    ("what", "says"), [("scan", "orientation"), ("dataset", "layout"), ("model", "spacing_mm")]
)
def test_info_tells_what_a_thing_is(what, says, run, home):
    path = {
        "scan": min((SAMPLE / "mr" / "images").glob("*.nii.gz")),
        "dataset": SAMPLE / "mr",
        "model": run,
    }[what]
    done = volunet("info", path, "--json", home=home)
    assert done.returncode == 0, done.stderr
    assert says in json.loads(done.stdout.splitlines()[0])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "nowhere", "-o", "out"), "is not there"),
        (("train", SAMPLE / "mr", "-o", "out", "--budget", "soon"), "A budget is a time such as"),
        (("train", SAMPLE / "mr", "-o", "out", "--set", "plan.bach=4"), "does not know 'bach'"),
        (("train", SAMPLE / "mr", "-o", "out", "-d", "gpu9"), "cannot be used here"),
        (("predict", "-i", SAMPLE, "-m", "nowhere", "-o", "out"), "There is no model in"),
        (("predict", "-i", "nowhere", "-m", "nowhere", "-o", "out"), "There is no model in"),
        (
            ("predict", "-i", SAMPLE, "-m", "nowhere", "-o", "out", "--fast", "--best"),
            "give one of them",
        ),
        (("plan", SAMPLE / "mr", "-r", "nowhere.toml"), "cannot be read"),
        (("evaluate", "-p", "nowhere", "-r", SAMPLE, "-o", "out"), "nowhere"),
        (("info", "nowhere"), "is not there"),
        (("info", SAMPLE / "mr", "--engines"), "--engines is for a model"),
        (("info", SAMPLE / "mr", "-d", "cpu"), "Give both, or leave -d out"),
        (("check", SAMPLE, "--accept", "geo-form"), "Did you mean GEO-FORMS?"),
        (("nonsense",), "No such command"),
    ],
)
def test_a_mistake_in_the_command_is_exit_2_with_advice(arguments, says, home, tmp_path):
    words = [tmp_path / word if word in ("nowhere", "out") else word for word in arguments]
    done = volunet(*words, home=home)
    assert done.returncode == 2, done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "model").exists()


def test_the_version_is_told(home):
    assert volunet("--version", home=home).stdout.strip().count(".") == 2
