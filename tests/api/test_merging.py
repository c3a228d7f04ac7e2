"""The page on partly drawn cases merges two data sets into one that can be trained on."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

import volunet as vn
from tests.data.on_disk import write_json, write_nifti
from volunet.api.asked import Wanted
from volunet.data.splits import Split
from volunet.recipe import Recipe

PAGE = (Path(__file__).parents[2] / "docs/howto/partial.md").read_text(encoding="utf-8")
RECIPE = Recipe.default(
    changes=['budget="4steps"', "plan.features=[4,8]", "plan.patch=[8,8,8]", "plan.batch=2"]
)
SPLIT = Split(train=("hospital_a_1", "hospital_b_1"), validation=("hospital_a_2", "hospital_b_2"))


@pytest.fixture
def merged(tmp_path, monkeypatch):
    """Two sets of two cases, one structure each, merged by the code of the page."""
    for number, (name, low) in enumerate((("hospital_a", 2), ("hospital_b", 7))):
        for case in (1, 2):
            label = np.zeros((12, 12, 12), dtype=np.uint8)
            label[low : low + 3, 4:8, 4:8] = 1  # liver in one set, spleen in the other
            image = label * 200 + np.random.default_rng([number, case]).integers(-30, 30, (12,) * 3)
            write_nifti(tmp_path / name / "images" / f"{case}.nii.gz", image.astype(np.int16))
            write_nifti(tmp_path / name / "labels" / f"{case}.nii.gz", label)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (names,) = re.findall(r"with `(\{.*?\})` as `labels.json` beside `both.csv`", PAGE)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "partial.md", "exec"), {})
    write_json(tmp_path / "labels.json", json.loads(names))
    return tmp_path


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def trained(folder, name):
    wanted = Wanted(device="cpu", cache=folder / "cache", split=SPLIT)
    return vn.train(folder / "both.csv", folder / name, RECIPE, wanted=wanted)


def test_two_sets_become_one_with_one_numbering(merged):
    masks = {
        p.name: np.unique(vn.read(p).voxels).tolist() for p in (merged / "both_labels").iterdir()
    }
    assert masks == {
        f"hospital_{s}_{n}.nii.gz": [0, v] for s, v in (("a", 1), ("b", 2)) for n in (1, 2)
    }
    drawn = {row["case_id"]: row["labelled"] for row in rows_of(merged / "both.csv")}
    assert drawn == {
        f"hospital_{s}_{n}": v for s, v in (("a", "liver"), ("b", "spleen")) for n in (1, 2)
    }


def test_what_each_set_knows_is_learnt_and_scored(merged):
    run = trained(merged, "run")
    rows = rows_of(run.folder / "validation" / "metrics.csv")
    assert {(row["case_id"][9], row["label"]): row["status"] for row in rows} == {
        ("a", "liver"): "ok",
        ("a", "spleen"): "undrawn",
        ("b", "liver"): "undrawn",
        ("b", "spleen"): "ok",
    }
    table = rows_of(merged / "both.csv")
    with (merged / "both.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, table[0])
        out.writeheader()
        out.writerows(row | {"labelled": ""} for row in table)
    whole = trained(merged, "all drawn")  # the ordinary loss, on the same patches
    told, untold = (
        [(row["step"], row["loss"]) for row in rows_of(r.folder / "history.csv") if row["loss"]]
        for r in (run, whole)
    )
    assert [step for step, _ in told] == [step for step, _ in untold]
    assert told != untold
