"""What a run takes over from the model that it starts from, and what it does not."""

import pytest
import torch

from tests.api.held_out import noise_weights, write_run
from tests.training.tiny import PLAN
from volunet.api.asked import Wanted
from volunet.api.preparation import _start
from volunet.api.starting import Starting
from volunet.errors import ConfigError, ModelError
from volunet.recipe import Recipe


@pytest.fixture
def folder(tmp_path):
    write_run(tmp_path, noise_weights())
    return tmp_path


def test_the_plan_follows_the_model_where_the_recipe_is_silent(folder):
    starting = Starting(folder)
    wanted = Recipe.default(changes=["plan.batch=3", "plan.patch=[24,24,24]"])
    plan = starting.recipe_for(wanted, PLAN.channels).plan
    assert plan["features"] == list(PLAN.features)
    assert (plan["batch"], plan["patch"]) == (3, [24, 24, 24])
    assert plan["intensities"] == PLAN.model_dump(mode="json")["intensities"]
    assert "intensities" not in starting.recipe_for(wanted, ("CT",)).plan
    assert "balls (1 cases, 1 steps)" in str(starting)


def test_its_weights_and_what_their_head_tells_of_are_taken(folder):
    start = Starting(folder).start()
    assert start.heads == ("background", "ball")
    assert all(torch.equal(w, start.weights[name]) for name, w in noise_weights().items())


def test_what_does_not_fit_is_told(folder, tmp_path):
    starting = Starting(folder)
    with pytest.raises(ConfigError, match=r"plan\.features"):
        starting.recipe_for(Recipe.default(changes=["plan.features=[4,12]"]), PLAN.channels)
    with pytest.raises(ConfigError, match="takes 1 channels"):
        starting.recipe_for(Recipe.default(), ("T1", "T2"))
    with pytest.raises(ModelError, match="no model"):
        Starting(tmp_path / "validation")


def test_an_encoder_of_random_weights_is_not_frozen(folder):
    frozen = Recipe.default(changes=["training.optimisation.freeze_encoder=true"])
    with pytest.raises(ConfigError, match="Give --from"):
        _start(frozen, Wanted(), PLAN)
    assert _start(frozen, Wanted(start=folder), PLAN) is not None
    assert _start(Recipe.default(), Wanted(), PLAN) is None


def test_weights_of_an_encoder_are_for_networks_that_have_one(folder):
    wanted = Wanted(encoder_weights=folder / "resnet34.pth")
    with pytest.raises(ConfigError, match="the plan's network is unet"):
        _start(Recipe.default(), wanted, PLAN)
