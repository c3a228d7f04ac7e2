"""A run goes on with what it was started with, also by a version that knows more settings."""

import pytest

from tests.training.tiny import PLAN
from volunet.api.run_folder import RunFolder
from volunet.errors import ConfigError
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
