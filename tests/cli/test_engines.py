"""The command says which engine runs a model, and takes the one that is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.cli.command import volunet
from tests.training.tiny import PLAN, ball
from volunet.io.read import read
from volunet.io.write import write
from volunet.packaging.model_file import Training, save_model
from volunet.planning.fingerprint import CaseFacts, Fingerprint
from volunet.space.grid import Grid
from volunet.space.volume import Volume


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    facts = CaseFacts(shape=(20, 20, 20), spacing=(1, 1, 1), channels=(), volumes_ml={"ball": 0.5})
    save_model(
        folder,
        PLAN.build_network().state_dict(),
        name="balls",
        plan=PLAN,
        fingerprint=Fingerprint(cases={"a": facts}),
        training=Training(cases=1, steps=1, seconds=1.0, seed=0, validation_dice={"ball": 0.8}),
    )
    return folder


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "one.nii.gz"
    write(Volume(ball(0).image, Grid((20, 20, 20), np.eye(4))), path)
    return path


def test_info_tells_what_became_of_every_engine(model, home):
    done = volunet("info", model, "--engines", "--json", home=home)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])["engines"]
    rows = {f"{row['engine']} {row['precision']}": row for row in told["rows"]}
    assert {row["engine"] for row in rows.values()} == {"torch", "openvino", "onnx"}
    assert rows["openvino fp32"]["verdict"] == "not tried: the network is small"
    assert told["rows"][told["chosen"]]["verdict"] == "chosen"
    assert told["seen"] == "noise"


def test_predict_by_any_engine_gives_one_mask_and_leaves_the_model_alone(
    model, scan, home, tmp_path
):
    pytest.importorskip("openvino")
    before = {path.name: path.stat().st_mtime_ns for path in model.iterdir()}
    masks = []
    for engine in ("torch", "openvino"):
        out = tmp_path / engine
        words = ("predict", "-i", scan, "-m", model, "-o", out)
        done = volunet(*words, "--engine", engine, "--precision", "fp32", home=home)
        assert done.returncode == 0, done.stderr
        assert f"Engine: {engine} fp32" in done.stderr
        asked = json.loads((out / "run.json").read_text())["arguments"]
        assert (asked["engine"], asked["precision"]) == (engine, "fp32")
        masks.append(read(out / "one.nii.gz").voxels)
    assert (masks[0] == masks[1]).mean() >= 0.9999
    assert masks[0].any()
    assert {path.name: path.stat().st_mtime_ns for path in model.iterdir()} == before


def test_masks_made_in_another_precision_than_is_asked_for_are_made_anew(
    model, scan, home, tmp_path
):
    kept = []
    for more in ((), ("--precision", "fp32"), ("--precision", "fp32")):
        done = volunet("predict", "-i", scan, "-m", model, "-o", tmp_path, *more, home=home)
        assert done.returncode == 0, done.stderr
        kept.append(json.loads((tmp_path / "run.json").read_text())["kept"])
    assert kept == [0, 0, 1]


def test_an_engine_that_does_not_exist_is_exit_2(model, scan, home, tmp_path):
    words = ("predict", "-i", scan, "-m", model, "-o", tmp_path, "--engine", "tensorrt")
    done = volunet(*words, home=home)
    assert done.returncode == 2
    assert "There is no engine 'tensorrt' for cpu. Choose auto or" in done.stderr
