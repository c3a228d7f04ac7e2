"""A run goes on with what it was started with, also by a version that knows more settings."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tests.cli.command import SAMPLE, SMOKE
from tests.training.tiny import PLAN
from volunet.api.asked import Wanted, Watch
from volunet.api.run_folder import RunFolder
from volunet.api.training import train
from volunet.config import read_config
from volunet.data.splits import Split
from volunet.errors import ConfigError, ModelError, Stopped, TrainingDiverged
from volunet.findings import as_data, finding
from volunet.recipe import Recipe
from volunet.training.checkpoint import find_checkpoints, save_checkpoint

OTHER = ["plan.family='segresnet'", "plan.patch=[16,16,16]", "plan.batch=1"]


def made_from(**changes):
    return {
        "recipe": Recipe(**changes).model_dump(mode="json"),
        "plan": PLAN.model_dump(mode="json"),
    }


def test_settings_that_an_earlier_version_had_not_are_no_difference(tmp_path):
    before = made_from()
    del before["recipe"]["training"]["rare_below"]
    for name in ("family", "options", "layers", "recompute", "neighbours", "size"):
        del before["plan"][name]
    save_checkpoint(tmp_path / "checkpoints", 1, {})
    run = RunFolder(tmp_path)
    run.write_record({"made_from": before})
    run.check_unchanged(made_from())
    with pytest.raises(ConfigError, match=r"other values of recipe\.budget"):
        run.check_unchanged(made_from(budget="5m"))


def test_a_folder_of_damaged_checkpoints_is_free(tmp_path):
    save_checkpoint(tmp_path / "checkpoints", 1, {}).write_bytes(b"damaged")
    run = RunFolder(tmp_path)
    run.write_record({"made_from": made_from()})
    run.check_unchanged(made_from(budget="5m"))


def test_what_cannot_be_read_any_more_is_a_difference(tmp_path):
    before = made_from()
    before["recipe"]["training"]["speed"] = 3
    save_checkpoint(tmp_path / "checkpoints", 1, {})
    run = RunFolder(tmp_path)
    run.write_record({"made_from": before})
    with pytest.raises(ConfigError, match=r"recipe\.training\.speed"):
        run.check_unchanged(made_from())


def test_what_was_found_is_told_again(tmp_path):
    found = finding("IO-TRUNC", "Half of it is missing.", wanted=8, got=4).at(
        case="a", file="a.nii"
    )
    waived = replace(finding("SET-LEAK", "One image is on both sides."), accepted=True)
    RunFolder(tmp_path).write_record({"findings": as_data([found, waived])})
    assert RunFolder(tmp_path).findings == (found, waived)


@pytest.mark.parametrize(
    "changes",
    [
        ["training.augmentation.mirror=[0]"],
        ["training.optimisation.freeze_encoder=true"],
        ["training.inflate='average'"],
        ["training.augmentation.mirror=[]", *OTHER, "training.optimisation.stage_decay=0.5"],
    ],
)
def test_a_mistake_that_is_found_before_the_first_step_leaves_the_folder_free(tmp_path, changes):
    data = tmp_path / "data"
    shutil.copytree(SAMPLE / "mr", data)
    names = json.loads((data / "labels.json").read_text())
    del names["pairs"]
    (data / "labels.json").write_text(json.dumps(names))
    with pytest.raises(ConfigError, match=r"kidney_left|Give --from|are given|SegResNet has none"):
        train(data, tmp_path / "run", Recipe.default(changes=changes))
    assert not (tmp_path / "run" / "plan.json").exists()
    assert not (tmp_path / "run" / "run.json").exists()


def test_one_side_alone_is_not_learnt_from_both(tmp_path):
    shutil.copytree(SAMPLE / "mr", data := tmp_path / "data")
    names = json.loads((data / "labels.json").read_text())
    names["labels"]["kidney_2"] = names["labels"].pop("kidney_right")
    del names["pairs"], names["colours"]
    (data / "labels.json").write_text(json.dumps(names))
    mirrored = Recipe.default(changes=["training.augmentation.mirror=[0]"])
    with pytest.raises(ConfigError, match=r"\['kidney_left'\] tell a side .* Take 0 out"):
        train(data, tmp_path / "run", mirrored)


def test_weights_that_do_not_fit_are_told_before_cases_are_prepared(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    options = ["plan.family='encoder'", "plan.options={encoder='resnet10'}", "plan.batch=1"]
    recipe = Recipe.default(changes=options)
    wanted = Wanted(device="cpu", cache=tmp_path / "cache", encoder_weights=tmp_path / "other.pth")
    with pytest.raises(ModelError):
        train(SAMPLE / "mr", tmp_path / "run", recipe, wanted=wanted)
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "run" / "plan.json").exists()


def test_before_its_first_checkpoint_a_run_can_begin_otherwise_and_then_not(tmp_path):
    run = tmp_path / "run"
    stop = Watch(should_stop=lambda: True)
    prepared = Wanted(device="cpu", cache=tmp_path / "cache")
    diverges = Recipe.read(SMOKE, changes=["training.optimisation.learning_rate=1e30"])
    with pytest.raises(TrainingDiverged, match="start in a new folder"):
        train(SAMPLE / "mr", run, diverges, wanted=prepared)
    assert not find_checkpoints(run / "checkpoints")
    smaller = Recipe.read(SMOKE, changes=["plan.batch=1"])
    with pytest.raises(Stopped):
        train(SAMPLE / "mr", run, smaller, wanted=prepared, watch=stop)
    assert json.loads((run / "plan.json").read_text())["batch"] == 1
    assert find_checkpoints(run / "checkpoints")
    with pytest.raises(ConfigError, match=r"started with other values of plan\.batch|recipe"):
        train(SAMPLE / "mr", run, Recipe.read(SMOKE), wanted=prepared)
    assert train(SAMPLE / "mr", run, smaller, wanted=prepared).trained.steps == 6


def test_a_run_goes_on_without_the_model_that_it_started_from(tmp_path):
    prepared = Wanted(device="cpu", cache=tmp_path / "cache")
    recipe = Recipe.read(SMOKE)
    first, run = tmp_path / "first", tmp_path / "run"
    train(SAMPLE / "mr", first, recipe, wanted=prepared)
    split = read_config(first / "splits.json", Split)
    other = Split(train=split.validation, validation=split.train[:1])  # a leak
    wanted = replace(prepared, start=first, split=other, accept=("SET-LEAK",))
    asked = iter([False, True])
    with pytest.raises(Stopped):
        train(
            SAMPLE / "mr", run, recipe, wanted=wanted, watch=Watch(should_stop=lambda: next(asked))
        )
    train(SAMPLE / "mr", tmp_path / "other", recipe, wanted=replace(prepared, seed=1))
    with pytest.raises(ConfigError, match="other values of --from"):
        train(SAMPLE / "mr", run, recipe, wanted=replace(wanted, start=tmp_path / "other"))
    (tmp_path / "beside").mkdir()
    shutil.copytree(first / "model", tmp_path / "beside" / "model")  # and no checkpoint
    begun = train(SAMPLE / "mr", tmp_path / "beside", recipe, wanted=wanted)
    assert "the head knows background, " in begun.trained.notes[0]
    shutil.rmtree(first)
    with pytest.raises(ConfigError, match="other values of --from"):
        train(SAMPLE / "mr", run, recipe, wanted=replace(wanted, start=None))
    assert train(SAMPLE / "mr", run, recipe, wanted=wanted).trained.steps == 6
    record = json.loads((run / "run.json").read_text())
    assert "the head knows background, " in record["notes"][0]
    assert [f["case"] for f in record["findings"] if f["code"] == "SET-LEAK"] == [*split.train[:1]]
    with pytest.raises(ModelError):
        train(SAMPLE / "mr", tmp_path / "new", recipe, wanted=wanted)
