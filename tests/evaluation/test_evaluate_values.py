"""From two folders of values to metrics.csv and summary.json, in Python and by the command."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.data.on_disk import AFFINE, touch, write_json, write_nifti
from volunet.cli.main import app
from volunet.errors import ConfigError
from volunet.evaluation.compare import compare_metrics, read_metrics
from volunet.evaluation.evaluate_values import evaluate_values
from volunet.findings import Refused

SHAPE = (13, 12, 11)
HALF = np.diag([-0.5, -0.5, 1, 1])


def scan(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(0, 100, shape).astype("f4")


def save_picture(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    """Two cases with predictions that are off by 5 and by 10, and c without one."""
    predictions, references = tmp_path / "predictions", tmp_path / "data" / "targets"
    for seed, (name, off) in enumerate({"a": 5, "b": 10, "site/c": None}.items()):
        write_nifti(references / f"{name}.nii.gz", scan(seed))
        if off is not None:
            write_nifti(predictions / f"{name}.nii", scan(seed) + np.float32(off))
    touch(predictions / "cases.csv")
    return predictions, references


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return {(row["case_id"], row["target"]): row for row in csv.DictReader(file)}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_folders_become_a_table_and_a_summary(folders, tmp_path):
    found = evaluate_values(*folders, tmp_path / "out", seed=1)
    rows = rows_of(tmp_path / "out")
    assert float(rows["a", "target"]["mae"]) == pytest.approx(5, abs=1e-4)
    assert float(rows["b", "target"]["rmse"]) == pytest.approx(10, abs=1e-4)
    assert rows["site__c", "target"] == dict.fromkeys(rows["a", "target"], "") | {
        "case_id": "site__c", "target": "target", "n_vox": "0", "status": "missing"
    }  # fmt: skip
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == found.summary
    assert summary["cases"] == {
        "n": 3, "n_scored": 2, "missing": ["site__c"], "refused": {}, "left_out": [],
        "values_changed": {},
    }  # fmt: skip
    mae = summary["targets"]["target"]["mae"]
    assert (mae["n"], mae["mean"]) == (2, pytest.approx(7.5, abs=1e-4))
    assert mae["interval"] == pytest.approx([5, 10], abs=1e-4)


def test_references_without_a_prediction_can_be_left_out(folders):
    found = evaluate_values(*folders, only_predicted=True)
    assert found.missing == ()
    assert found.summary["cases"]["left_out"] == ["site__c"]
    assert found.summary["targets"]["target"]["n_missing"] == 0


def test_one_bad_case_never_stops_the_rest(folders):
    predictions, references = folders
    write_nifti(predictions / "b.nii", scan(1), np.diag([2.0, 1.5, 3.5, 1.0]))
    touch(predictions / "site__c.nii")
    found = evaluate_values(predictions, references)
    refused = {"b": ["GEO-MISMATCH"], "site__c": ["IO-FORMAT"]}
    assert found.summary["cases"]["refused"] == refused
    assert found.refused == ("b", "site__c")
    assert [s.status for s in found.scores] == ["ok", "refused", "refused"]


def test_values_that_reading_mended_are_told(folders):
    voxels = scan(0)
    voxels[0, 0, 0] = np.nan
    write_nifti(folders[0] / "a.nii", voxels)
    found = evaluate_values(*folders)
    (told,) = found.findings
    assert (told.code, told.case, told.file) == ("IMG-NONFINITE", "a", "a.nii")
    assert found.summary["cases"]["values_changed"] == {"a": "IMG-NONFINITE"}


def test_channels_are_targets_called_by_number_or_by_labels_json(tmp_path):
    two = scan(0, (*SHAPE, 2))
    for folder, off in (("predictions", 1), ("data/targets", 0)):
        write_nifti(tmp_path / folder / "a.nii.gz", two + np.float32(off), AFFINE)
    folders = tmp_path / "predictions", tmp_path / "data" / "targets"
    assert [s.target for s in evaluate_values(*folders).scores] == ["target_1", "target_2"]
    declared = write_json(tmp_path / "data" / "labels.json", {"targets": ["CT", "PET"]})
    assert list(evaluate_values(*folders).summary["targets"]) == ["CT", "PET"]
    named = evaluate_values(*folders, targets=("x", "y")).summary["targets"]
    assert list(named) == ["x", "y"]
    write_json(declared, {"targets": ["CT"]})
    assert evaluate_values(*folders).summary["cases"]["refused"] == {"a": ["IMG-CHANNELS"]}
    for wrong in ("CT", ["CT", "CT"], ["CT", 1], {"CT": 1}):
        write_json(declared, {"targets": wrong})
        with pytest.raises(ConfigError, match="targets is a list of different names"):
            evaluate_values(*folders)


def test_pictures_are_scored_in_their_plane(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (20, 16)).astype("u1")
    colours = rng.integers(0, 256, (20, 16, 3)).astype("u1")
    for name, pixels in (("grey", grey), ("colours", colours)):
        save_picture(tmp_path / name / "r" / "a.png", pixels)
        save_picture(tmp_path / name / "p" / "a.png", 255 - pixels)
    (found,) = evaluate_values(tmp_path / "grey" / "p", tmp_path / "grey" / "r").scores
    assert found.mae == pytest.approx(np.abs(255.0 - 2.0 * grey).mean())
    assert found.ssim < 0
    assert found.n_vox == 320
    three = evaluate_values(tmp_path / "colours" / "p", tmp_path / "colours" / "r").scores
    assert [s.target for s in three] == ["red", "green", "blue"]
    assert three[1].mae == pytest.approx(np.abs(255.0 - 2.0 * colours[..., 1]).mean())


def test_pictures_as_references_lie_where_finer_estimates_do(tmp_path):
    fine = np.random.default_rng(0).normal(size=(20, 16)).astype("f4")
    save_picture(tmp_path / "r" / "a.tif", fine)
    write_nifti(tmp_path / "p" / "a.nii.gz", fine.T[..., None] + np.float32(2), HALF)
    (found,) = evaluate_values(tmp_path / "p", tmp_path / "r").scores
    assert found.mae == pytest.approx(2)
    write_nifti(tmp_path / "p" / "a.nii.gz", fine[..., None], HALF)  # rows in place of columns
    assert evaluate_values(tmp_path / "p", tmp_path / "r").summary["cases"]["refused"]


def test_a_jpeg_can_be_a_reference(tmp_path):
    pixels = np.full((16, 16), 100, "u1")
    save_picture(tmp_path / "r" / "a.jpg", pixels)
    save_picture(tmp_path / "p" / "a.png", pixels + np.uint8(3))
    (found,) = evaluate_values(tmp_path / "p", tmp_path / "r").scores
    assert found.mae == 3


def test_folders_that_cannot_be_used_are_told(folders, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(Refused, match="SET-EMPTY"):
        evaluate_values(folders[0], tmp_path / "none")
    write_nifti(folders[0] / "stranger.nii", scan(9))
    with pytest.raises(ConfigError, match="stranger"):
        evaluate_values(*folders)


def test_the_command_scores_values(folders, tmp_path):
    words = ("evaluate", "-p", folders[0], "-r", folders[1], "-o", tmp_path / "out", "--values")
    some = run(*words)
    assert some.exit_code == 3, some.output
    assert "Predictions missing: " in some.stderr
    assert "7.5 (5-10)" in some.stdout
    waived = run(*words, "--only-predicted", "--json")
    assert waived.exit_code == 0, waived.output
    assert json.loads(waived.stdout)["task"] == "values"
    for path in folders[0].glob("*.nii"):
        touch(path)
    assert run(*words).exit_code == 4


def test_a_tolerance_beside_values_is_a_mistake(folders, tmp_path):
    words = ("evaluate", "-p", folders[0], "-r", folders[1], "-o", tmp_path / "out", "--values")
    done = run(*words, "--tolerance-mm", 2)
    assert done.exit_code == 2
    assert "Leave one of them out" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_two_evaluations_of_values_are_compared(folders, tmp_path):
    predictions, references = folders
    evaluate_values(predictions, references, tmp_path / "one")
    write_nifti(predictions / "a.nii", scan(0))
    write_nifti(predictions / "b.nii", scan(1) + np.float32(20))
    evaluate_values(predictions, references, tmp_path / "two")
    done = run("compare", tmp_path / "one", tmp_path / "two", "-o", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    found = {(d["label"], d["measure"]): d for d in map(json.loads, done.stdout.splitlines())}
    assert {label for label, _ in found} == {"target"}
    mae = found["target", "mae"]
    assert (mae["gain"], mae["wins"], mae["losses"]) == (pytest.approx(2.5, abs=1e-4), 1, 1)
    psnr = found["target", "psnr_db"]
    assert (psnr["n"], psnr["gain"]) == (1, pytest.approx(20 * np.log10(2), abs=1e-4))
    assert (psnr["wins"], psnr["losses"]) == (1, 1)
    assert found["target", "ssim"]["n"] == 2


def test_masks_are_not_compared_with_values(folders, tmp_path):
    evaluate_values(*folders, tmp_path / "values")
    masks = tmp_path / "masks"
    for case in ("a", "b"):
        write_nifti(masks / f"{case}.nii", np.ones(SHAPE, "u1"))
    words = ("evaluate", "-p", masks, "-r", masks, "-o", tmp_path / "labels")
    assert run(*words).exit_code == 0
    with pytest.raises(ConfigError, match="of values, the second of masks"):
        compare_metrics(read_metrics(tmp_path / "values"), read_metrics(tmp_path / "labels"))
