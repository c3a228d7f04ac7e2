"""A run goes on with what it was started with, also by a version that knows more settings."""

import json
import shutil
from dataclasses import replace

import pytest

from tests.cli.command import SAMPLE
from tests.training.tiny import PLAN
from volunet.api.run_folder import RunFolder
from volunet.api.training import train
from volunet.errors import ConfigError
from volunet.findings import as_data, finding
from volunet.recipe import Recipe


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
    run = RunFolder(tmp_path)
    run.write_record({"made_from": before})
    run.check_unchanged(made_from())
    with pytest.raises(ConfigError, match=r"other values of recipe\.budget"):
        run.check_unchanged(made_from(budget="5m"))


def test_what_cannot_be_read_any_more_is_a_difference(tmp_path):
    before = made_from()
    before["recipe"]["training"]["speed"] = 3
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
    ],
)
def test_a_mistake_that_is_found_before_the_first_step_leaves_the_folder_free(tmp_path, changes):
    data = tmp_path / "data"
    shutil.copytree(SAMPLE / "mr", data)
    names = json.loads((data / "labels.json").read_text())
    del names["pairs"]
    (data / "labels.json").write_text(json.dumps(names))
    with pytest.raises(ConfigError, match=r"kidney_left|Give --from|are given"):
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
