"""Structures that nobody drew in a case: no loss tells them from background there."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.losses.drawn import draw, loss_of
from volunet.training.losses.terms import TERMS

ALL = torch.ones(2, 4, dtype=torch.bool)


def some(*rows: tuple[int, ...]) -> torch.Tensor:
    """Which of four classes each case drew, background always."""
    drawn = torch.zeros(len(rows), 4, dtype=torch.bool)
    for place, row in enumerate(rows):
        drawn[place, [0, *row]] = True
    return drawn


@pytest.mark.parametrize("term", TERMS)
def test_it_is_the_ordinary_loss_where_all_is_drawn(term):
    logits, label = draw(0, 4)
    loss = loss_of(4, term)
    torch.testing.assert_close(loss([logits], label, drawn=ALL), loss([logits], label))


@pytest.mark.parametrize("term", TERMS)
@given(seed=st.integers(0, 99))
def test_what_passes_between_background_and_the_undrawn_changes_nothing(term, seed):
    logits, label = draw(seed, 4)
    label[label == 2] = 0
    drawn = some((1, 3), (1, 3))
    shares = torch.softmax(logits.double(), dim=1)
    moved = shares.clone()
    part = torch.rand(shares[:, 0].shape, generator=torch.Generator().manual_seed(seed)) * 0.9
    moved[:, 2] += part * moved[:, 0]
    moved[:, 0] *= 1 - part
    loss = loss_of(4, term)
    before, after = (loss([x.log()], label, drawn=drawn) for x in (shares, moved))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_no_gradient_tells_the_undrawn_from_background(term):
    """As slopes: d loss / d share of the undrawn = d loss / d share of background."""
    logits, label = draw(3, 4)
    label[label == 2] = 0
    shares = torch.softmax(logits, dim=1).requires_grad_()
    loss_of(4, term)([shares.log()], label, drawn=some((1, 3), (1, 3))).backward()
    torch.testing.assert_close(shares.grad[:, 2], shares.grad[:, 0], rtol=1e-3, atol=1e-6)
    assert shares.grad.isfinite().all()


def test_where_nothing_but_background_is_drawn_there_is_nothing_to_learn():
    logits, label = draw(4, 4)
    logits.requires_grad_()
    value = loss_of(4)([logits], label, drawn=some((), ()))
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-5)
    assert float(logits.grad.abs().max()) < 1e-6


def test_a_voxel_of_a_structure_that_its_case_does_not_draw_counts_as_background():
    logits, label = draw(5, 4)
    cleared = torch.where(label == 2, 0, label)
    drawn, loss = some((1, 3), (1, 3)), loss_of(4)
    torch.testing.assert_close(
        loss([logits], label, drawn=drawn), loss([logits], cleared, drawn=drawn)
    )


def test_cases_that_drew_different_things_are_judged_each_by_its_own():
    logits, label = draw(6, 4)
    label[0][label[0] == 2] = 0
    loss = loss_of(4, "ce")
    together = loss([logits], label, drawn=some((1, 3), (1, 2, 3)))
    first = loss([logits[:1]], label[:1], drawn=some((1, 3)))
    second = loss([logits[1:]], label[1:])
    torch.testing.assert_close(together, (first + second) / 2)


def test_the_mean_over_structures_leaves_out_what_no_case_drew():
    logits, label = draw(7, 4)
    label[label > 1] = 0
    merged = torch.stack([logits[:, [0, 2, 3]].logsumexp(dim=1), logits[:, 1]], dim=1)
    found = loss_of(4, "dice")([logits], label, drawn=some((1,), (1,)))
    torch.testing.assert_close(found, loss_of(2, "dice")([merged], label))


@pytest.mark.parametrize("term", ["hausdorff", "boundary"])
def test_a_case_that_drew_nothing_does_not_thin_what_another_one_counts(term):
    logits, label = draw(5, 4)
    both = loss_of(4, term)([logits], label, drawn=some((1, 2, 3), ()))
    alone = loss_of(4, term)([logits[:1]], label[:1], drawn=some((1, 2, 3)))
    torch.testing.assert_close(both, alone)
