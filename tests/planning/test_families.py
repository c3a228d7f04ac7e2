"""Plans of every family fit together, and say so where something does not."""

import pytest
import torch

from tests.models.test_families import SMALL as OPTIONS
from tests.models.test_families import skip_if_missing
from tests.planning.drawing import LABELS, SMALL, fingerprint_of, plan_for
from tests.planning.test_rules import HIPPOCAMPUS, noise_facts
from tests.planning.test_slices import CARDIAC
from volunet.errors import ConfigError, ShapeError
from volunet.models.families import FAMILIES
from volunet.planning.make import make_plan
from volunet.planning.memory import (
    PROCESS_BYTES,
    cost_of,
    count_weights,
    training_bytes,
    widest_maps,
)


def planned(facts, **fixed):
    return make_plan(noise_facts(facts), ("MR",), LABELS, SMALL, fixed=fixed)


@pytest.mark.parametrize("facts", [HIPPOCAMPUS, CARDIAC], ids=["volumes", "slices"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_of_any_family_has_a_network_that_answers_its_patch(family, facts):
    skip_if_missing(family)
    options = {k: v for k, v in OPTIONS.get(family, {}).items() if k != "padded"}
    few = {"features": (4, 8, 8)} if "features" in FAMILIES[family].heeds else {}
    plan = planned(facts, family=family, options=options, **few)
    assert plan.family == family
    seen = [p + 2 * m for p, m in zip(plan.patch, plan.margin, strict=True)]
    with torch.device("meta"):
        logits = plan.build_network().eval()(torch.empty(1, 1, *seen))
    assert tuple(logits.shape) == (1, len(plan.heads), *plan.patch)
    assert cost_of(plan).parameters == count_weights(plan) > 0
    assert widest_maps(plan) > 0


def test_what_a_family_does_not_heed_is_refused():
    with pytest.raises(ConfigError, match=r"segresnet does not heed plan\.features; it heeds none"):
        planned(HIPPOCAMPUS, family="segresnet", features=(4, 8))
    with pytest.raises(ConfigError, match=r"mednext does not heed plan\.residual"):
        planned(HIPPOCAMPUS, family="mednext", residual=True)
    with pytest.raises(ConfigError, match="There is no family 'unet3d'"):
        planned(HIPPOCAMPUS, family="unet3d")
    with pytest.raises(ValueError, match="answers at the finest scale only"):
        plan_for(family="dynunet", supervised_scales=2)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("segresnet", {"blocks_up": (1,)}),
        ("segresnet", {"init_filters": 6}),
        ("flexible_unet", {"backbone": "x"}),
        ("monai_unet", {"act": "FOO"}),
    ],
)
def test_options_that_make_no_network_are_told_with_their_place(family, options):
    with pytest.raises(ConfigError, match=r"(?s)cannot .*Look\s+at\s+plan\.options"):
        planned(HIPPOCAMPUS, family=family, options=options)


def test_maps_are_computed_again_by_those_that_can():
    with pytest.raises(ValueError, match="segresnet cannot compute its maps again"):
        planned(HIPPOCAMPUS, family="segresnet", recompute=True)


def test_a_patch_that_comes_down_to_a_voxel_is_refused():
    small = fingerprint_of(((24, 24, 24), (1.0, 1.0, 1.0)))
    with pytest.raises(ConfigError, match=r"comes down to a single voxel.*twice as long"):
        planned(small, family="flexible_unet", options=OPTIONS["flexible_unet"])
    told = {"family": "flexible_unet", "options": OPTIONS["flexible_unet"]}
    assert planned(small, **told, patch=(64, 32, 32)).patch == (64, 32, 32)
    assert planned(small, family="encoder", options=OPTIONS["encoder"]).patch == (32, 32, 32)


def test_a_batch_that_comes_down_to_a_voxel_is_refused_where_it_is_normalised():
    one = {"family": "monai_unet", "features": (4, 8), "strides": ((2, 2, 2),), "patch": (2, 2, 2)}
    with pytest.raises(ConfigError, match=r"patches of \(2, 2, 2\) in batches of 1.*one voxel"):
        planned(HIPPOCAMPUS, **one, batch=1, options={"norm": "batch"})
    assert planned(HIPPOCAMPUS, **one, batch=2, options={"norm": "batch"}).batch == 2
    with pytest.raises(ShapeError, match="Give the network a larger image or fewer stages"):
        planned(HIPPOCAMPUS, **{**one, "family": "unet"}, batch=2)


def test_margins_count_in_memory():
    padded, bare = (
        plan_for(family="original", options={"padded": p}, patch=(20, 20, 20))
        for p in (True, False)
    )
    assert bare.margin == (20, 20, 20)
    assert training_bytes(bare) > 5 * (training_bytes(padded) - PROCESS_BYTES)


def test_a_patch_that_a_network_without_padding_does_not_answer_is_refused_with_one_that_it_does():
    with pytest.raises(ValueError, match=r"patch \(34, 34, 34\) is none .*; \(36, 36, 36\) is"):
        plan_for(family="original", patch=(34, 34, 34))
    plan = plan_for(family="original", patch=(36, 36, 36))
    assert (plan.patch, plan.margin) == ((36, 36, 36), (20, 20, 20))


def test_the_papers_features_are_planned_on_scans_of_any_size():
    features = (4, 8, 16, 32, 64)
    plan = planned(HIPPOCAMPUS, family="cicek", features=features)
    assert (plan.features, plan.strides) == (features, ((2, 2, 2),) * 4)
