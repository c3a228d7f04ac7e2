"""Differences of values are torch's own losses, weighed by target, and 0 for a perfect answer."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from tests.planning.drawing import estimating_plan
from tests.training.tiny import PLAN
from volunet.errors import ConfigError
from volunet.planning.targets import Scale
from volunet.training.losses.loss import Loss
from volunet.training.losses.settings import LossSettings, Term
from volunet.training.losses.terms import TERMS as OF_STRUCTURES
from volunet.training.losses.values import TERMS, ValueLoss

SHAPE = (4, 5, 6)
SEEDS = st.integers(0, 999)
NAMES = ("CT", "PET", "dose")


def loss_of(*terms: str, targets: int = 2, **settings) -> ValueLoss:
    """The loss of some terms, each with weight 1; what is usual without any."""
    told = {"terms": dict.fromkeys(terms, 1.0)} if terms else {}
    scales = (Scale(mean=0.0, sd=1.0),) * targets
    return ValueLoss(estimating_plan(NAMES[:targets], scales), LossSettings(**told, **settings))


def draw(seed: int, targets: int = 2, *, spread: float = 1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, targets, *SHAPE)
    given, wanted = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    return spread * given, wanted


ORACLES = {"mae": l1_loss, "mse": mse_loss, "huber": huber_loss}


@pytest.mark.parametrize("term", TERMS)
@given(seed=SEEDS, targets=st.integers(1, 3), spread=st.floats(0.01, 100))
def test_agrees_with_torch(term, seed, targets, spread):
    given, wanted = draw(seed, targets, spread=spread)
    found = loss_of(term, targets=targets)([given], wanted)
    assert found.shape == ()
    torch.testing.assert_close(found, ORACLES[term](given, wanted), rtol=1e-5, atol=1e-7)


@given(seed=SEEDS, delta=st.floats(0.05, 5))
def test_huber_turns_at_its_delta(seed, delta):
    given, wanted = draw(seed, spread=2.0)
    found = loss_of("huber", huber_delta=delta)([given], wanted)
    torch.testing.assert_close(found, huber_loss(given, wanted, delta=delta))


@pytest.mark.parametrize(
    ("term", "expected"),
    [("mae", (1 + 0 + 3 + 0.5) / 4), ("mse", (1 + 0 + 9 + 0.25) / 4),
     ("huber", (0.5 + 0 + 2.5 + 0.125) / 4)],
)  # fmt: skip
def test_four_voxels_worked_out_by_hand(term, expected):
    given = torch.tensor([1.0, 2.0, -1.0, 0.5]).view(1, 1, 4, 1, 1)
    wanted = torch.tensor([0.0, 2.0, 2.0, 0.0]).view(1, 1, 4, 1, 1)
    assert float(loss_of(term, targets=1)([given], wanted)) == pytest.approx(expected)


def test_the_mean_absolute_error_is_what_is_usual():
    given, wanted = draw(0)
    usual = ValueLoss(estimating_plan(NAMES[:2], (Scale(mean=0.0, sd=1.0),) * 2))
    for loss in (usual, loss_of(), loss_of("mae")):
        torch.testing.assert_close(loss([given], wanted), l1_loss(given, wanted))


def test_terms_are_added_with_their_weights():
    given, wanted = draw(1)
    both = loss_of(terms={"mae": 0.5, "mse": 2.0})([given], wanted)
    torch.testing.assert_close(both, 0.5 * l1_loss(given, wanted) + 2 * mse_loss(given, wanted))


def test_class_weights_are_those_of_targets():
    given, wanted = draw(2)
    found = loss_of("mse", class_weights={"PET": 3.0})([given], wanted)
    ct, pet = (mse_loss(given[:, n], wanted[:, n]) for n in range(2))
    torch.testing.assert_close(found, (ct + 3 * pet) / 2)


def test_a_weight_for_no_target_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"'ct'.*no targets; known are \['CT', 'PET'\]"):
        loss_of(class_weights={"ct": 2.0})


@pytest.mark.parametrize("term", sorted(OF_STRUCTURES))
def test_terms_about_structures_are_refused_with_those_there_are(term):
    with pytest.raises(ConfigError, match=rf"'{term}'.*compare structures.*mae, mse, huber"):
        loss_of(term)
    with pytest.raises(ConfigError, match=rf"\['{term}'\]"):
        loss_of("mae", term)


@pytest.mark.parametrize("term", TERMS)
def test_terms_about_values_are_refused_where_there_are_labels(term):
    with pytest.raises(ConfigError, match=rf"'{term}'.*compare values.*dice"):
        Loss(PLAN, LossSettings(terms={term: 1.0}))


def test_all_terms_are_of_one_kind_or_the_other():
    known = get_args(Term)
    assert sorted(known) == sorted([*TERMS, *OF_STRUCTURES])


@pytest.mark.parametrize("term", TERMS)
def test_a_perfect_answer_costs_nothing_and_any_other_something(term):
    _, wanted = draw(3)
    loss = loss_of(term)
    assert float(loss([wanted.clone()], wanted)) == 0
    other = wanted.clone()
    other[0, 1, 2, 2, 2] += 0.1
    assert float(loss([other], wanted)) > 0


@pytest.mark.parametrize("term", TERMS)
def test_gradients_are_those_of_small_steps(term):
    given, wanted = draw(4, dtype=torch.float64)
    given = (2 * given[:, :, :2, :2, :2]).requires_grad_()
    loss = loss_of(term, class_weights={"CT": 0.5, "PET": 2.0})
    assert loss([given], wanted[:, :, :2, :2, :2]).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: loss([x], wanted[:, :, :2, :2, :2]), given)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_answers_of_two_bytes_are_compared_in_float32(dtype):
    wanted = torch.full((1, 2, 40, 40, 40), 300.0)
    given = torch.zeros_like(wanted, dtype=dtype)
    found = loss_of("mse")([given], wanted)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(9e4)  # more than float16 can hold


@given(SEEDS)
def test_a_loss_goes_down_along_its_gradient(seed):
    given, wanted = draw(seed)
    for term in TERMS:
        at = given.clone().requires_grad_()
        before = loss_of(term)([at], wanted)
        before.backward()
        after = loss_of(term)([given - 0.1 * at.grad], wanted)
        assert math.isfinite(float(after))
        assert after < before


def test_voxels_without_a_target_count_for_nothing():
    loss = loss_of("mae", targets=1)
    given = torch.randn(2, 1, *SHAPE, requires_grad=True)
    wanted = torch.randn(2, 1, *SHAPE)
    hidden = wanted.clone()
    hidden[0] = torch.nan
    seen = loss((given,), hidden)
    assert seen.item() == pytest.approx(l1_loss(given[1], wanted[1]).item(), rel=1e-5)
    seen.backward()
    assert (given.grad[0] == 0).all()
    assert given.grad[1].abs().min() > 0
    nothing = loss((given,), torch.full_like(wanted, torch.nan))
    assert nothing.item() == 0


def test_settings_that_mean_nothing_to_the_terms_are_refused():
    with pytest.raises(ValueError, match="huber_delta is of huber, not among the terms"):
        LossSettings(huber_delta=2.0)
    with pytest.raises(ValueError, match=r"batch is of dice, .*, not among the terms; take it out"):
        loss_of("mae", batch=False)
    with pytest.raises(ConfigError, match=r"training\.loss\.batch"):
        loss_of(batch=False)  # values by default too
