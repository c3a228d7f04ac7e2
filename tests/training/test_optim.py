"""Optimisers: Muon against its definition and torch's own, and how a rate goes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.tiny import PLAN, job
from volunet.models.mednext import MedNeXt
from volunet.models.unet import UNet
from volunet.training.fit import fit
from volunet.training.muon import FACTORS, RMS_OF_ADAMW, ROUNDS, Muon, orthogonal
from volunet.training.optim import Optimisation, make_optimizer, rate_at


@given(rows=st.integers(1, 24), columns=st.integers(1, 24), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_singular_values_of_an_update_are_near_one(rows, columns, seed):
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(rows, rows)))
    right, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    middle = np.zeros((rows, columns))
    least = min(rows, columns)
    middle[range(least), range(least)] = rng.uniform(0.2, 1, least)
    made = orthogonal(torch.from_numpy(left @ middle @ right))
    values = torch.linalg.svdvals(made)
    assert made.shape == (rows, columns)
    assert values.min() > 0.5
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(8, 216), (216, 8), (32, 864)])
def test_rounds_on_the_square_are_rounds_on_the_matrix(shape):
    """Of singular values down to a millionth of the largest, against Jordan's rounds in float64."""
    torch.manual_seed(0)
    least = min(shape)
    left, right = (torch.linalg.qr(torch.randn(n, least, dtype=torch.float64))[0] for n in shape)
    matrix = left @ torch.diag(torch.logspace(0, -6, least, dtype=torch.float64)) @ right.mT
    x = matrix / matrix.norm()
    for _ in range(ROUNDS):
        a, b, c = FACTORS
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    assert torch.allclose(orthogonal(matrix.float()).double(), x, atol=4e-3 * float(x.abs().max()))


def test_a_gradient_of_zeros_moves_nothing():
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_matrices_move_as_with_torchs_muon(shape):
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(shape))
    theirs = torch.nn.Parameter(ours.detach().clone())
    one = Muon([{"params": [ours], "matrices": True, "weight_decay": 0.1}], lr=0.02)
    other = torch.optim.Muon(
        [theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw", eps=1e-7
    )
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    # torch's rounds are in bfloat16
    assert torch.allclose(ours, theirs, atol=0.02 * 5 * RMS_OF_ADAMW * 20**0.5 * 0.02)


def test_a_kernel_is_a_row_whatever_its_layout():
    torch.manual_seed(0)
    kernel = torch.randn(4, 3, 3, 3, 3)
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        weight = torch.nn.Parameter(kernel.clone(memory_format=layout))
        weight.grad = kernel.flip(0).contiguous(memory_format=layout)
        Muon([{"params": [weight], "matrices": True}], lr=0.1).step()
        moved.append(weight.detach().flatten(1))
    flat = torch.nn.Parameter(kernel.flatten(1).clone())
    flat.grad = kernel.flip(0).flatten(1)
    Muon([{"params": [flat], "matrices": True}], lr=0.1).step()
    for one in moved:
        assert torch.allclose(one, flat, atol=1e-6)


def test_what_is_no_matrix_moves_as_with_adamw():
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(5))
    theirs = torch.nn.Parameter(ours.detach().clone())
    one, other = Muon([{"params": [ours]}], lr=0.1), torch.optim.AdamW([theirs], lr=0.1)
    other.param_groups[0]["weight_decay"] = 0.0
    for _ in range(3):
        ours.grad = torch.randn(5)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    assert torch.equal(ours, theirs)


def test_muon_takes_the_convolutions_between_image_and_head():
    network = PLAN.build_network()
    optimizer = make_optimizer(network, Optimisation(method="muon"))
    matrices = {id(w) for g in optimizer.param_groups if g["matrices"] for w in g["params"]}
    for name, weight in network.named_parameters():
        assert (id(weight) in matrices) == (weight.ndim > 1 and not name.startswith("head"))


def test_kernels_of_channels_that_never_meet_are_no_matrix():
    sizes = {"features": (4, 8), "strides": (2,), "expansions": (2, 2), "depths": (1, 1)}
    network = MedNeXt(2, 1, 2, **sizes)
    optimizer = make_optimizer(network, Optimisation(method="muon"))
    matrices = {id(w) for g in optimizer.param_groups if g["matrices"] for w in g["params"]}
    apart = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1]
    assert apart
    assert not {id(layer.weight) for layer in apart} & matrices
    assert matrices


def test_the_head_of_another_family_is_no_matrix():
    plan = PLAN.model_copy(update={"family": "segresnet", "options": {"init_filters": 8}})
    heads = plan.head_axes
    network = plan.build_network()
    optimizer = make_optimizer(network, Optimisation(method="muon"), heads=heads)
    matrices = {id(w) for g in optimizer.param_groups if g["matrices"] for w in g["params"]}
    named = dict(network.named_parameters())
    assert heads
    assert not {id(named[name]) for name in heads} & matrices
    assert len(matrices) > 10


@pytest.mark.parametrize("method", ["adamw", "sgd", "muon"])
def test_a_run_stopped_and_gone_on_with_equals_one_that_was_not(tmp_path, method):
    told = {"optimisation": Optimisation(method=method, learning_rate=0.01), "log_steps": 1}
    whole = fit(job(tmp_path / "whole", steps=6, **told))
    asked = iter([False, False, True])
    made = job(tmp_path / "parts", steps=6, **told)
    with pytest.raises(Exception, match="Stopped after 3 steps"):
        fit(made, should_stop=lambda: next(asked))
    parts = fit(made)
    assert all(torch.equal(whole.weights[name], w) for name, w in parts.weights.items())


def test_rates_rise_and_fall_to_zero():
    for decay, half in (("cosine", 0.5), ("linear", 0.5)):
        settings = Optimisation(learning_rate=1.0, warm_up=0.1, decay=decay)
        assert rate_at(0, settings) == pytest.approx(0.001, rel=0.1)
        assert rate_at(0.5, settings) == pytest.approx(half)
        assert rate_at(1, settings) == pytest.approx(0)
    line = Optimisation(learning_rate=1.0, decay="linear")
    assert rate_at(0.75, line) == pytest.approx(0.25)
    assert rate_at(0.75, Optimisation(learning_rate=1.0)) == pytest.approx(0.1464, abs=1e-4)


@pytest.mark.parametrize(("method", "decay"), [("muon", 1e-2), ("adamw", 1e-2), ("sgd", 3e-5)])
def test_weights_decay_as_suits_the_method_unless_it_is_said(method, decay):
    network = UNet(3, 1, 2, features=(4, 8), strides=(2,))
    for said, expected in ((None, decay), (0.5, 0.5)):
        settings = Optimisation(method=method, weight_decay=said)
        groups = make_optimizer(network, settings).param_groups
        assert {group["weight_decay"] for group in groups} == {expected, 0.0}
