"""A recipe is one experiment as data, strict when it is read."""

from __future__ import annotations

import json
import re

import pytest

from volunet.config import to_json
from volunet.errors import ConfigError
from volunet.recipe import Recipe
from volunet.training.budget import Budget

GOOD = """
name = "liver"
budget = "1h30m"
channels = ["CT"]
nsd_tolerance_mm = 2
[labels]
labels = {background = 0, liver = 1, tumour = 2}
regions = {whole = [1, 2]}
[plan]
spacing = [1, 1.5, 3]
patch = [96, 96, 32]
intensities = [{scheme = "set", low = -200, high = 300, mean = 100, sd = 40.5}]
[training]
foreground_share = 0.75
[training.augmentation]
mirror = [0, 1]
"""


def read(tmp_path, text: str = GOOD, **how) -> Recipe:
    (tmp_path / "r.toml").write_text(text)
    return Recipe.read(tmp_path / "r.toml", **how)


def test_a_recipe_says_what_it_is_for(tmp_path):
    recipe = read(tmp_path)
    assert recipe.labels is not None
    assert recipe.labels.structures == {"liver": 1, "tumour": 2}
    assert recipe.labels.regions == {"whole": (1, 2)}
    assert recipe.time == Budget(seconds=5400.0)
    assert recipe.plan["spacing"] == [1, 1.5, 3]
    assert recipe.training.augmentation.mirror == (0, 1)


def test_what_is_written_is_read_back(tmp_path):
    for recipe in (read(tmp_path), Recipe.default(), Recipe(plan={"patch": (8, 8, 8)})):
        (tmp_path / "again.json").write_text(to_json(recipe))
        assert Recipe.read(str(tmp_path / "again.json")) == recipe
        assert json.loads(to_json(recipe))["plan"] == recipe.plan


def test_the_default_leaves_everything_to_the_rules():
    recipe = Recipe.default()
    assert (recipe.plan, recipe.labels, recipe.channels) == ({}, None, None)
    assert recipe.time == Budget(seconds=1200.0)


def test_changes_override_the_file(tmp_path):
    changes = ["budget=5000steps", "plan.batch=4", "training.augmentation.turn_deg=30", "name=x"]
    recipe = read(tmp_path, changes=changes)
    assert recipe.time == Budget(steps=5000)
    assert recipe.plan == read(tmp_path).plan | {"batch": 4}
    assert recipe.training.augmentation.turn_deg == 30
    assert recipe.training.augmentation.mirror == (0, 1)
    assert recipe.name == "x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("plan.ptach=[8, 8, 8]", "plan does not know 'ptach'. Did you mean 'patch'?"),
        ("plan.patch=[8, 8]", "plan is incomplete: 'patch.2' is missing"),
        ("plan.patch=8", "plan: patch: Input should be a valid tuple (got 8)"),
        ("plan.batch=0", "plan: batch: Input should be greater than or equal to 1 (got 0)"),
        ("plan.spacing=[0, 1, 1]", "plan: spacing.0: Input should be greater than 0"),
        ("plan.overlap=1.0", "plan: overlap: Input should be less than 1"),
        ("plan.labels={}", "plan does not know 'labels'"),
        ("plan.channels=['MR']", "plan does not know 'channels'"),
        ("plan.format=2", "plan does not know 'format'"),
        ("plan.intensities=[{scheme='image', low=1}]", "the scheme 'image' takes no numbers"),
        ("plan=5", "plan: Input should be a valid dictionary"),
        ("budget=soon", "A budget is a time such as 20m, 90s or 1h30m, or 5000steps, got 'soon'."),
        ("budget=0s", "A budget must be above 0"),
        ("nsd_tolerance_mm=-1", "nsd_tolerance_mm: Input should be greater than or equal to 0"),
        ("training.epochs=3", "does not know 'training.epochs'. It knows optimisation,"),
        ("training.augmentation.mirror=[3]", "augmentation.mirror.0: Input should be 0, 1 or 2"),
        ("training.augmentation.scale=[2, 1]", "the smaller factor comes first"),
        ("training.augmentation.turn_deg=120", "Input should be less than or equal to 90"),
        ("labels.pairs=[['liver', 'spleen']]", "['spleen'] are not among the names"),
        ("labels.color={}", "labels does not know 'color'. Did you mean 'colours'?"),
        ("licence=5", "licence: Input should be a valid string (got 5)"),
    ],
)
def test_a_mistake_is_named_with_advice(tmp_path, change, says):
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        read(tmp_path, changes=[change])
    assert str(caught.value).startswith("r.toml")


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"r\.toml cannot be read"):
        Recipe.read(tmp_path / "r.toml")


@pytest.mark.parametrize(
    ("budget", "share"), [("1h", "720.00s"), ("5000steps", "1000steps"), ("3steps", "1steps")]
)
def test_a_budget_is_shared_among_folds(budget, share):
    recipe = Recipe(budget=budget).shared_among(5)
    assert recipe.budget == share
    assert Recipe(budget=share).time == recipe.time
