"""What a run takes over from the model that it starts from, and what it does not."""

import shutil

import pytest
import torch

from tests.api.held_out import noise_weights, write_run
from tests.models.test_families import SMALL as OPTIONS
from tests.models.test_families import skip_if_missing
from tests.planning.drawing import SMALL, estimating_plan
from tests.planning.test_rules import HIPPOCAMPUS, noise_facts
from tests.training.tiny import PLAN
from volunet.api.asked import Wanted
from volunet.api.beginning import check_start
from volunet.api.starting import Starting
from volunet.errors import ConfigError, ModelError
from volunet.models.families import FAMILIES
from volunet.packaging.model_file import Training, save_model
from volunet.planning.make import make_plan
from volunet.recipe import Recipe
from volunet.space.labels import Labels
from volunet.training.start import transplant


@pytest.fixture
def folder(tmp_path):
    write_run(tmp_path, noise_weights())
    return tmp_path


def save(folder, plan):
    """A model of weights that nobody trained."""
    told = Training(cases=1, steps=1, seconds=1.0, seed=0, validation_dice={})
    facts, weights = noise_facts(HIPPOCAMPUS), plan.build_network().state_dict()
    save_model(folder, weights, name="old", plan=plan, fingerprint=facts, training=told)


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
        check_start(frozen, Wanted(), PLAN)
    check_start(frozen, Wanted(start=folder), PLAN)
    check_start(Recipe.default(), Wanted(), PLAN)


def test_a_way_to_inflate_is_for_weights_of_an_encoder():
    recipe = Recipe.default(changes=["training.inflate_axis=0"])
    with pytest.raises(ConfigError, match="what becomes of --encoder-weights of two"):
        check_start(recipe, Wanted(), PLAN)


def test_weights_of_two_dimensions_are_not_inflated_for_a_network_of_two(folder):
    values = {"dimensions": 2, "patch": (16, 16, 1), "strides": ((2, 2, 1),), "family": "encoder"}
    flat = PLAN.model_copy(update=values)
    recipe = Recipe.default(changes=['training.inflate="average"'])
    with pytest.raises(ConfigError, match=r"has two\. Take the keys out"):
        check_start(recipe, Wanted(encoder_weights=folder / "resnet34.pth"), flat)


def test_weights_of_an_encoder_are_for_networks_that_have_one(folder):
    wanted = Wanted(encoder_weights=folder / "resnet34.pth")
    with pytest.raises(ConfigError, match="the plan's network is unet"):
        check_start(Recipe.default(), wanted, PLAN)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_any_family_can_be_gone_on_with(family, tmp_path):
    skip_if_missing(family)
    options = {k: v for k, v in OPTIONS.get(family, {}).items() if k != "padded"}
    few = {"features": (4, 8, 8)} if "features" in FAMILIES[family].heeds else {}
    facts, names = noise_facts(HIPPOCAMPUS), PLAN.labels
    fixed = {"family": family, "options": options, "batch": 1, **few}
    plan = make_plan(facts, PLAN.channels, names, SMALL, fixed=fixed)
    weights = plan.build_network().state_dict()
    told = Training(cases=1, steps=1, seconds=1.0, seed=0, validation_dice={})
    save_model(tmp_path, weights, name="old", plan=plan, fingerprint=facts, training=told)
    starting = Starting(tmp_path)
    recipe = starting.recipe_for(Recipe(plan=fixed), PLAN.channels)
    again = make_plan(facts, PLAN.channels, names, SMALL, fixed=recipe.plan)
    assert again.spec == plan.spec
    network, start = again.build_network(), starting.start()
    transplant(network, start.weights, start.heads, again.heads, again.head_axes)
    assert all(torch.equal(w, weights[name]) for name, w in network.state_dict().items())


def test_a_recipe_may_say_again_what_the_model_was_made_with(tmp_path):
    layers = {"normalisation": "batch"}
    plan = type(PLAN).model_validate({**PLAN.model_dump(), "layers": layers})
    save(tmp_path, plan)
    wanted = Recipe(plan={"layers": layers})
    assert Starting(tmp_path).recipe_for(wanted, PLAN.channels).plan["layers"] == layers
    other = Recipe(plan={"layers": {"normalisation": "group"}})
    with pytest.raises(ConfigError, match=r"plan\.layers"):
        Starting(tmp_path).recipe_for(other, PLAN.channels)


def test_a_fixed_size_is_taken_over(tmp_path):
    plan = type(PLAN).model_validate({**PLAN.model_dump(), "size": (16, 16, 16)})
    save(tmp_path, plan)
    kept = Starting(tmp_path).recipe_for(Recipe.default(), PLAN.channels).plan
    assert kept["size"] == [16, 16, 16]
    assert "spacing" not in kept


def test_what_a_network_that_estimates_must_have_is_not_asked_of_one_of_structures(tmp_path):
    plan = estimating_plan(corrects=True, respace=False)
    save(tmp_path, plan)
    starting, labels = Starting(tmp_path), Labels(structures={"ball": 1})
    told = starting.recipe_for(Recipe.default(), plan.channels, labels=labels).plan
    assert "patch" in told
    assert not {"respace", "supervised_scales"} & told.keys()


def test_a_seed_below_0_is_told_before_hours_of_work():
    with pytest.raises(ConfigError, match="from 0 on, and -1 is below"):
        Wanted(seed=-1)


def test_two_starts_at_once_are_refused(folder):
    wanted = Wanted(start=folder, encoder_weights=folder / "resnet34.pth")
    with pytest.raises(ConfigError, match="Give one of them"):
        check_start(Recipe.default(), wanted, PLAN)


def test_channels_in_each_others_places_are_not_mixed_up(tmp_path):
    plan = PLAN.model_copy(update={"channels": ("CT", "PET"), "intensities": PLAN.intensities * 2})
    save(tmp_path, plan)
    starting = Starting(tmp_path)
    assert starting.recipe_for(Recipe.default(), ("CT", "PET")).plan["intensities"]
    assert "intensities" not in starting.recipe_for(Recipe.default(), ("T1", "T2")).plan
    for channels in (("PET", "CT"), ("PET", "CT_venous")):
        with pytest.raises(ConfigError, match=r"PET.* would be seen in another's place"):
            starting.recipe_for(Recipe.default(), channels)


def test_a_model_that_saw_scans_on_their_own_grids_goes_on_doing_so(tmp_path):
    plan = PLAN.model_copy(update={"respace": False})
    told = Training(cases=1, steps=1, seconds=1.0, seed=0, validation_dice={})
    weights, facts = plan.build_network().state_dict(), noise_facts(HIPPOCAMPUS)
    save_model(tmp_path, weights, name="own", plan=plan, fingerprint=facts, training=told)
    kept = Starting(tmp_path).recipe_for(Recipe.default(), plan.channels).plan
    assert kept["respace"] is False
    assert "spacing" not in kept


def test_a_model_takes_the_place_of_its_own_weights_and_of_nobody_elses(folder):
    theirs = [folder / "model" / name for name in ("weights_best.safetensors", "weights_1.bin")]
    for path in theirs:
        path.write_bytes(b"theirs")
    before = {p.name for p in (folder / "model").glob("weights_*")}
    shutil.rmtree(folder / "validation")
    write_run(folder, {name: w + 1 for name, w in noise_weights().items()})
    after = {p.name for p in (folder / "model").glob("weights_*")}
    assert all(path.read_bytes() == b"theirs" for path in theirs)
    assert len(after) == len(before) == 3
    assert len(after & before) == 2
