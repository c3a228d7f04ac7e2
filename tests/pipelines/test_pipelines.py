"""Every pipeline is a promise: it is read, planned on sample scans, and smoke runs to the end."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scenes import write_scenes
from pipelines import add_noise
from volunet.api.asked import Wanted
from volunet.api.planning import open_dataset, plan_for
from volunet.api.training import train
from volunet.recipe import Recipe

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "pipelines").glob("*.toml"))
FAMILY = {"hippocampus_mr": "mr", "sarcoma_pet": "mr", "head_neck_ct": "ct", "smoke": "mr"}


def sample_for(name: str, folder: Path) -> Path:
    """Samples of the kind that a recipe is for; those with targets are made in `folder`."""
    if name == "denoise":
        add_noise.main(ROOT / "sample_data" / "mr" / "images", folder, sd=0.1, seed=0)
    elif name == "superres_2d":
        write_scenes(folder, range(3))
    else:
        return ROOT / "sample_data" / FAMILY[name]
    return folder


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    recipe = Recipe.read(ROOT / "pipelines" / "smoke.toml")
    wanted = Wanted(device="cpu", cache=folder / "cache")
    return train(ROOT / "sample_data" / "mr", folder / "run", recipe, wanted=wanted)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_is_planned_on_sample_scans(path, tmp_path):
    recipe = Recipe.read(path)
    assert recipe.name == path.stem
    sample = sample_for(path.stem, tmp_path / "sample")
    # The sample scans have other structures than the real ones: theirs are used for planning.
    dataset = open_dataset(sample, recipe.model_copy(update={"labels": None}))
    plan = plan_for(dataset, dataset.cases, recipe, device="cpu").plan
    for key, value in recipe.plan.items():
        assert json.loads(plan.model_dump_json())[key] == value
    assert (plan.targets.names if plan.targets else None) == recipe.targets
    assert (plan.dimensions == 2) == (path.stem == "superres_2d")


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_is_a_page_long(path):
    assert len(path.read_text().splitlines()) <= 50


def test_every_pipeline_is_in_the_table_of_the_readme():
    named = re.findall(r"\| `(\w+\.toml)`", (ROOT / "pipelines" / "README.md").read_text())
    assert sorted(named) == [path.name for path in PIPELINES]


def test_smoke_runs_to_the_end_and_leaves_what_the_contract_says(smoke):
    for name in ("model/model.json", "plan.json", "splits.json", "history.csv", "run.json"):
        assert (smoke.folder / name).is_file(), name
    assert list((smoke.folder / "validation").glob("*.nii.gz"))
    assert json.loads((smoke.folder / "run.json").read_text())["steps"] == 6


def test_the_research_script_makes_a_table_and_a_plot(smoke, tmp_path):
    script = ROOT / "pipelines" / "volumes.py"
    assert len(script.read_text().splitlines()) < 40
    scans = ROOT / "sample_data" / "mr" / "test" / "images"
    table, plot = tmp_path / "volumes.csv", tmp_path / "volumes.png"
    command = [sys.executable, script, smoke.model, scans, table, plot]
    subprocess.run(command, check=True, timeout=120)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list(scans.glob("*.nii.gz")))
    assert all(float(value) >= 0 for name, value in rows[0].items() if name != "case_id")
    assert plot.read_bytes().startswith(b"\x89PNG")
