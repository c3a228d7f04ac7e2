"""Regions of nnU-Net's are learnt from its dataset.json, and gone on with."""

import csv

import numpy as np
import pytest

import volunet as vn
from tests.data.on_disk import write_json, write_nifti
from volunet.api.asked import Wanted
from volunet.api.starting import Starting
from volunet.data.splits import Split
from volunet.packaging.model_file import read_model_file
from volunet.recipe import Recipe
from volunet.space.labels import Labels

NESTED = {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3}
REGIONS = ("whole tumour", "core", "enhancing")
SHAPE = (12, 12, 12)


@pytest.fixture
def dataset(tmp_path):
    """A case to learn and one to hold out: a box in a box in a box."""
    root = tmp_path / "Dataset001_Boxes"
    for number, case_id in enumerate("ab"):
        label = np.zeros(SHAPE, dtype=np.uint8)
        for value, at in ((1, 2), (2, 3), (3, 4)):
            label[at + number : -at, at:-at, at:-at] = value
        image = label * 100.0 + np.random.default_rng(number).normal(0, 9, SHAPE)
        write_nifti(root / "imagesTr" / f"{case_id}_0000.nii.gz", image.astype(np.float32))
        write_nifti(root / "labelsTr" / f"{case_id}.nii.gz", label)
    said = {"channel_names": {"0": "MR"}, "labels": NESTED, "regions_class_order": [1, 2, 3]}
    write_json(root / "dataset.json", said | {"numTraining": 2, "file_ending": ".nii.gz"})
    return root


@pytest.fixture
def train(dataset, tmp_path):
    small = ['budget="4steps"', "plan.features=[4,8]", "plan.patch=[8,8,8]", "plan.batch=1"]
    split = Split(train=("a",), validation=("b",))

    def trained(name, *changes, start=None):
        wanted = Wanted(device="cpu", cache=tmp_path / "cache", split=split, start=start)
        changes = [*(small if start is None else small[:1]), *changes]
        return vn.train(dataset, tmp_path / name, Recipe.default(changes=changes), wanted=wanted)

    return trained


def plan_in(run):
    return read_model_file(run.model).plan


def test_regions_of_a_dataset_json_are_learnt_and_scored_once(train):
    run = train("regions", "plan.regions=true")
    plan = plan_in(run)
    assert (plan.heads, plan.order) == (REGIONS, (1, 2, 3))
    assert set(run.validated.summary["regions"]) == {"whole tumour", "core"}
    with (run.folder / "validation" / "metrics.csv").open() as file:
        named = [row["label"] for row in csv.DictReader(file)]
    assert named == ["1", "2", "enhancing", "whole tumour", "core"]


def test_presets_are_measured_by_the_regions_that_means_are_over(train):
    run = train("regions", "plan.regions=true")
    usual = run.calibration.rows[0]
    mean = run.validated.summary["mean_over_labels"]["dice"]["mean"]
    assert run.validated.summary["averaged"] == [*REGIONS]
    assert usual.dice == pytest.approx(mean, abs=2e-3)


def test_a_persons_plan_is_judged_and_not_the_one_it_takes_the_place_of(train, tmp_path):
    made = train("regions", "plan.regions=true").folder / "plan.json"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "plan.json").write_bytes(made.read_bytes())
    run = train("own", "training.loss.class_weights={core=2.0}", "plan.regions=false")
    assert plan_in(run).regions


def test_a_model_of_regions_and_one_of_structures_go_on_from_each_other(train):
    regions, structures = train("regions", "plan.regions=true"), train("structures")
    assert plan_in(structures).heads == ("background", "1", "2", "enhancing")
    assert plan_in(train("same", start=regions.folder)).heads == REGIONS
    back = train("back", "plan.regions=false", start=regions.folder)
    assert plan_in(back).heads == ("background", "1", "2", "enhancing")
    assert plan_in(train("on", "plan.regions=true", start=structures.folder)).heads == REGIONS


def test_regions_are_not_asked_for_where_a_dataset_has_none(train):
    starting = Starting(train("regions", "plan.regions=true").folder)
    labels = Labels(structures={"enhancing": 1, "vessel": 2})
    plan = starting.recipe_for(Recipe.default(), ("MR",), labels=labels).plan
    assert "regions" not in plan
