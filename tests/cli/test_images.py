"""Plain images by command: drawn scenes are learnt, and PNG masks come out for PNG images."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import volunet
from tests.cli.pictures import write_scenes

RECIPE = """
name = "cells"
budget = "150steps"
[plan]
dimensions = 2
patch = [48, 48, 1]
features = [8, 16]
strides = [[2, 2, 1]]
kernels = [[3, 3, 1], [3, 3, 1]]
batch = 4
[training]
validations = 1
"""


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def learn(home, *, colours):
    """The folder of masks of scenes that were held out."""
    train, test, run = home / "train", home / "test", home / "run"
    write_scenes(train, range(18), colours=colours)
    write_scenes(test, range(50, 56), colours=colours)
    for folder in (train, test):
        (folder / "labels.json").write_text(json.dumps({"labels": {"cell": 255}}))
    (home / "cells.toml").write_text(RECIPE)
    words = ("train", train, "-o", run, "-r", home / "cells.toml", "-d", "cpu")
    trained = volunet(*words, home=home)
    assert trained.returncode == 0, trained.stderr
    words = ("predict", "-i", test / "images", "-m", run, "-o", home / "out", "--engine", "torch")
    predicted = volunet(*words, home=home)
    assert predicted.returncode == 0, predicted.stderr
    return home / "out"


@pytest.mark.slow
@pytest.mark.parametrize("colours", [True, False], ids=["rgb", "grey"])
def test_scenes_are_learnt_file_to_file(tmp_path, colours):
    out = learn(tmp_path, colours=colours)
    scores, flipped = [], []
    for path in sorted((tmp_path / "test" / "labels").glob("*.png")):
        drawn, seen = np.asarray(Image.open(path)), np.asarray(Image.open(out / path.name))
        assert (seen.shape, seen.dtype, set(np.unique(seen))) == (
            drawn.shape,
            drawn.dtype,
            {0, 255},
        )
        scores.append(dice(drawn > 0, seen > 0))
        turns = (seen[::-1], seen[:, ::-1], seen[::-1, ::-1])
        flipped += [dice(drawn > 0, turned > 0) for turned in turns]
    assert np.mean(scores) > 0.9
    assert np.mean(flipped) < 0.5
    with (out / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["output"] for row in rows} == {f"scene_{n}.png" for n in range(50, 56)}
    with (out / "measurements.csv").open() as file:
        measured = {row["case_id"]: int(row["voxels"]) for row in csv.DictReader(file)}
    seen = {p.stem: int((np.asarray(Image.open(p)) > 0).sum()) for p in out.glob("*.png")}
    assert measured == seen
    words = ("evaluate", "-p", out, "-r", tmp_path / "test" / "labels", "-o", tmp_path / "scores")
    evaluated = volunet(*words, home=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["labels"]["cell"]["dice"]["mean"] == pytest.approx(np.mean(scores), abs=1e-3)
