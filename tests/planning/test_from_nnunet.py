"""An imported network, its axes turned, says on turned images what it said before."""

from itertools import permutations

import numpy as np
import pytest
import torch

from tests.packaging.nnunet_model import write_folder
from tests.planning.drawing import LABELS, SMALL
from tests.planning.test_rules import HIPPOCAMPUS, noise_facts
from volunet.api.starting import Starting
from volunet.errors import ConfigError
from volunet.packaging.import_nnunet import import_nnunet
from volunet.packaging.model_file import load_weights, read_model_file
from volunet.planning.from_nnunet import head_names, network_axes, plan_fields, turn_weights
from volunet.planning.make import make_plan
from volunet.recipe import Recipe
from volunet.space.labels import Labels
from volunet.training.start import transplant


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nnunet")
    import_nnunet(write_folder(folder / "trained", "thick"), folder / "model")
    return folder / "model"


@pytest.mark.parametrize("transpose", list(permutations(range(3))))
def test_the_axes_of_the_patient_are_found_in_those_of_the_network(imported, transpose):
    plan = read_model_file(imported).plan.model_copy(update={"transpose": transpose})
    scan = np.arange(24).reshape(2, 3, 4)  # (R, A, S), as (i, j, k)
    seen = scan.T.transpose(transpose)  # nnU-Net: the last axis first, then permuted
    assert np.array_equal(seen.transpose(network_axes(plan)), scan)


def test_a_network_with_its_axes_turned_answers_as_before(imported):
    model = read_model_file(imported)
    old = model.plan
    weights = load_weights(imported, model)[0]
    before = old.build_network().eval()
    before.load_state_dict(weights)
    starting = Starting(imported)
    recipe = starting.recipe_for(Recipe.default(), old.channels)
    names = Labels(structures=old.labels.structures)
    plan = make_plan(noise_facts(HIPPOCAMPUS), old.channels, names, SMALL, fixed=recipe.plan)
    after = plan.build_network().eval()
    start = starting.start()
    told = transplant(after, start.weights, start.heads, plan.heads, plan.head_axes)
    assert (told.drawn, told.left) == ((), ())
    places = network_axes(old)
    torch.manual_seed(0)
    image = torch.randn(1, len(old.channels), *old.patch)
    turned = image.permute(0, 1, *(2 + p for p in places))
    assert tuple(turned.shape[2:]) == plan.patch
    with torch.no_grad():
        expected = before(image).permute(0, 1, *(2 + p for p in places))
        assert torch.allclose(after(turned), expected, atol=1e-4)
    assert turn_weights(old, weights).keys() == weights.keys()


def test_a_head_for_other_structures_keeps_those_of_its_names(imported):
    starting, old = Starting(imported), read_model_file(imported).plan
    recipe = starting.recipe_for(Recipe.default(), old.channels)
    plan = make_plan(noise_facts(HIPPOCAMPUS), old.channels, LABELS, SMALL, fixed=recipe.plan)
    start = starting.start()
    network = plan.build_network()
    told = transplant(network, start.weights, start.heads, plan.heads, plan.head_axes)
    assert "background" in told.kept
    assert set(told.drawn) == set(LABELS.names) - set(old.labels.names)


def test_what_volunets_training_does_not_do_is_refused(imported, tmp_path):
    import_nnunet(write_folder(tmp_path / "trained", "slices"), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"network for slices \(2d\)"):
        Starting(tmp_path / "model")


def test_heads_of_regions_are_known_also_where_one_is_a_single_structure(imported, tmp_path):
    import_nnunet(write_folder(tmp_path / "trained", "regions"), tmp_path / "model")
    scaled = read_model_file(imported).plan.intensities[:1] * 2
    plan = read_model_file(tmp_path / "model").plan.model_copy(update={"intensities": scaled})
    assert plan_fields(plan)["regions"]
    assert head_names(plan) == ("organ", "lesion", "necrosis")
    unions = plan.labels.model_copy(update={"regions": plan.labels.unions})
    with pytest.raises(ConfigError, match=r"earlier version .* Import it again"):
        plan_fields(plan.model_copy(update={"labels": unions}))
