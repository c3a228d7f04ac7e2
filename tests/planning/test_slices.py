"""Networks see slices where these have little to say of each other, and stay in their plane."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.drawing import GPU, LABELS, SMALL, fingerprint_of, plan_for
from tests.planning.test_rules import HIPPOCAMPUS, PROSTATE, noise_facts
from tests.training.tiny import PLAN, job
from volunet.data.augment import draw_change, source_size
from volunet.data.augmentation import Augmentation
from volunet.errors import ConfigError
from volunet.inference.cover import classify
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.segmenter import Segmenter
from volunet.planning.make import explain_slices, make_plan
from volunet.planning.rules import choose_slices
from volunet.space.volume import Volume
from volunet.training.fit import fit

CARDIAC = fingerprint_of(((220, 256, 7), (1.4, 1.4, 8.0)))
MICROSCOPE = fingerprint_of(((512, 512, 1), (0.5, 0.5, 1.0)))


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [
        ((36, 50, 35), (1, 1, 1), None),
        ((320, 320, 20), (0.62, 0.62, 3.6), None),  # thick, but many: volumes with late strides
        ((256, 256, 7), (1.4, 1.4, 8.0), 2),
        ((7, 256, 256), (8.0, 1.4, 1.4), 0),
        ((256, 256, 40), (0.5, 0.5, 5.0), 2),
        ((512, 512, 1), (1, 1, 1), 2),
        ((256, 256, 1), (2.0, 2.0, 1.0), 2),  # pixels coarser than the slice
    ],
)
def test_slices_are_chosen_where_they_are_thick_and_few_or_far_apart(shape, spacing, axis):
    chosen = choose_slices(shape, spacing)
    assert chosen.axis == axis
    assert chosen.reason.startswith("volumes" if axis is None else "slices one by one")
    assert choose_slices(shape, spacing, 3).axis is None
    assert choose_slices(shape, spacing, 2).axis is not None


def test_the_reason_is_a_sentence_with_numbers():
    chosen = choose_slices((256, 256, 7), (1.4, 1.4, 8.0))
    assert chosen.reason == (
        "slices one by one: 7 slices along S, 5.71 times as thick as their pixels"
    )


@pytest.mark.parametrize("machine", [SMALL, GPU])
@pytest.mark.parametrize("facts", [CARDIAC, MICROSCOPE])
def test_a_plan_for_slices_never_convolves_across_them(facts, machine):
    plan = make_plan(noise_facts(facts), ("MR",), LABELS, machine)
    assert (plan.dimensions, plan.flat, plan.patch[2]) == (2, 2, 1)
    assert {kernel[2] for kernel in plan.kernels} == {stride[2] for stride in plan.strides} == {1}
    assert plan.build_network()(torch.zeros(1, 1, *plan.patch)).shape[2:] == plan.patch


def test_somebody_may_want_slices_or_volumes():
    facts = noise_facts(HIPPOCAMPUS)
    plan = make_plan(facts, ("MR",), LABELS, SMALL, fixed={"dimensions": 2})
    assert plan.dimensions == 2
    assert plan.flat is not None
    thick = make_plan(noise_facts(CARDIAC), ("MR",), LABELS, SMALL, fixed={"dimensions": 3})
    assert (thick.dimensions, thick.flat) == (3, None)
    assert explain_slices(PROSTATE, {}).axis is None
    assert explain_slices(CARDIAC, {"patch": (64, 64, 8)}).axis is None
    with pytest.raises(ConfigError, match="takes a patch and kernels that are 1"):
        make_plan(facts, ("MR",), LABELS, SMALL, fixed={"dimensions": 2, "patch": [32, 32, 8]})


@given(flat=st.integers(0, 2), seed=st.integers(0, 2**31))
def test_slices_are_turned_in_their_plane(flat, seed):
    turning = Augmentation(turn_share=1, turn_deg=45, mirror=(0, 1, 2))
    spacing = (1.0, 2.0, 3.0)
    matrix = draw_change(turning, 4, spacing, np.random.default_rng(seed), flat=flat).matrix
    across = np.eye(3)[flat]
    assert np.allclose(np.abs(matrix[:, flat]), across)
    assert np.allclose(np.abs(matrix[:, :, flat]), across)
    patch = tuple(1 if axis == flat else 16 for axis in range(3))
    assert source_size(turning, patch, spacing, flat=flat)[flat] == 1


def test_a_network_learns_from_slices_and_segments_a_volume(tmp_path):
    thin = {"dimensions": 2, "patch": (16, 16, 1), "strides": ((2, 2, 1),)}
    plan = PLAN.model_copy(update={**thin, "kernels": ((3, 3, 1), (3, 3, 1)), "batch": 16})
    plan = type(PLAN).model_validate(plan.model_dump())
    made = replace(job(tmp_path, steps=250, foreground_share=0.3), plan=plan)
    trained = fit(made)
    network = plan.build_network()
    network.load_state_dict(trained.weights)
    engine = TorchEngine(network, device="cpu", dtype=torch.float32)
    seen = Segmenter((engine,), plan, fingerprint_of(), "thin", Effort(overlap=0.5))
    case = made.validation[0]
    found = seen(Volume(case.image, case.grid)).labels.voxels[0] == 1
    truth = case.label == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_a_patch_of_ones_own_says_which_axis_is_across():
    facts = noise_facts(fingerprint_of(((200, 180, 220), (1.0, 1.0, 1.0))))
    for patch in ([128, 128, 1], [1, 128, 128]):
        plan = make_plan(
            facts, ("MR",), LABELS, SMALL, fixed={"dimensions": 2, "patch": tuple(patch)}
        )
        assert plan.flat == patch.index(1)


@pytest.mark.parametrize("family", ["unet", "encoder"])
def test_neighbours_are_channels_and_cost_no_patch(family):
    facts = noise_facts(CARDIAC)
    options = {"decoder_features": (2, 2, 4, 4, 4), "encoder": "resnet10"}
    fixed = {"family": family, "neighbours": 2, "options": options if family == "encoder" else {}}
    plan = make_plan(facts, ("MR",), LABELS, SMALL, fixed=fixed)
    assert (plan.patch[2], plan.margin, plan.overlap) == (1, (0, 0, 2), 0.5)
    network = plan.build_network().eval()
    with torch.no_grad():
        logits = network(torch.randn(1, 1, *plan.patch[:2], 5))
    assert tuple(logits.shape) == (1, 3, *plan.patch)
    assert set(plan.head_axes) <= set(network.state_dict())
    with pytest.raises(ConfigError, match="neighbours are for networks of two dimensions"):
        make_plan(noise_facts(HIPPOCAMPUS), ("MR",), LABELS, SMALL, fixed={"neighbours": 1})


def test_a_slice_is_judged_with_its_neighbours_and_mirrored_ones_at_the_end(tmp_path):
    thin = {"dimensions": 2, "neighbours": 1, "patch": (16, 16, 1), "strides": ((2, 2, 1),)}
    values = {**PLAN.model_dump(), **thin, "kernels": ((3, 3, 1), (3, 3, 1)), "batch": 16}
    plan = type(PLAN).model_validate(values)
    made = replace(job(tmp_path, steps=100, foreground_share=0.3), plan=plan)
    trained = fit(made)
    network = plan.build_network()
    network.load_state_dict(trained.weights)
    network.eval()
    case = made.validation[0]
    image = np.pad(case.image, [(0, 0), (0, 0), (0, 0), (1, 1)], mode="reflect")[:, :16, :16]
    engine = TorchEngine(network, device="cpu", dtype=torch.float32)
    found = classify(
        [engine], case.image[:, :16, :16], plan.patch, Effort(overlap=0.5), unpadded=plan.unpadded
    )
    for k in range(20):
        with torch.no_grad():
            alone = network(torch.from_numpy(image[None, ..., k : k + 3]))[0, ..., 0].argmax(0)
        assert np.array_equal(found[..., k], alone.numpy())


def test_a_plan_of_two_dimensions_must_be_flat():
    with pytest.raises(ValueError, match="takes a patch and kernels that are 1"):
        plan_for(dimensions=2)


@pytest.mark.parametrize("fixed", [{"patch": (256, 256, 1)}, {"batch": 1}, {}])
def test_pictures_are_seen_as_slices_whatever_else_a_recipe_wants(fixed):
    plan = make_plan(noise_facts(MICROSCOPE), ("grey",), LABELS, SMALL, fixed=fixed)
    assert (plan.dimensions, plan.flat) == (2, 2)


def test_a_patch_that_is_one_voxel_deep_makes_slices_of_volumes():
    plan = make_plan(
        noise_facts(HIPPOCAMPUS), ("T1 MR",), LABELS, SMALL, fixed={"patch": (32, 48, 1)}
    )
    assert (plan.dimensions, plan.flat, plan.patch) == (2, 2, (32, 48, 1))
