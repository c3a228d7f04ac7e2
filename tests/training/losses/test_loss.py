"""The sum of terms is MONAI's number, knows what to ignore, and weighs scales and classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceCELoss

from tests.training.losses.drawn import draw, labels_of, loss_of, sure_of
from tests.training.tiny import PLAN
from volunet.errors import ConfigError
from volunet.training.losses.choose import count_bytes
from volunet.training.losses.loss import Loss
from volunet.training.losses.settings import OF_TERMS, LossSettings
from volunet.training.losses.terms import FINEST_ONLY, TERMS


@given(st.integers(0, 999), st.integers(2, 5))
def test_agrees_with_monai(seed, classes):
    logits, label = draw(seed, classes)
    monai = DiceCELoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        batch=True,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    # MONAI leaves background out of the cross-entropy too; the sum here keeps it.
    entropy = torch.nn.functional.cross_entropy(logits, label)
    expected = monai.dice(logits, label[:, None]) + entropy
    torch.testing.assert_close(loss_of(classes)([logits], label), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("term", sorted(set(TERMS) - FINEST_ONLY))
def test_ignored_voxels_change_nothing(term):
    logits, label = draw(0, 3)
    ignored = label.clone()
    ignored[:, 2:] = 3
    loss = loss_of(3, term, ignore=255)
    part = loss([logits[:, :, :2]], label[:, :2])
    torch.testing.assert_close(loss([logits], ignored), part)
    logits.requires_grad_()
    loss([logits], ignored).backward()
    assert not logits.grad[:, :, 2:].any()
    assert logits.grad[:, :, :2].any()


@pytest.mark.parametrize("term", TERMS)
def test_nothing_but_ignored_voxels_gives_no_loss_and_no_gradient(term):
    logits, label = draw(0, 3)
    logits.requires_grad_()
    value = loss_of(3, term, ignore=255)([logits], torch.full_like(label, 3))
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-4)
    assert not logits.grad.any()


def test_each_coarser_scale_counts_half():
    logits, label = draw(1, 2)
    label = label[:, :, :4, :4]
    fine, coarse = logits[:, :, :, :4, :4], torch.randn(2, 2, 2, 2, 2)
    loss = loss_of(2)
    expected = (loss([fine], label) + 0.5 * loss([coarse], label[:, 1::2, 1::2, 1::2])) / 1.5
    torch.testing.assert_close(loss([fine, coarse], label), expected)


def test_form_counts_at_the_finest_scale_alone_and_in_full():
    logits, label = draw(1, 2)
    label = label[:, :, :4, :4]
    fine, coarse = logits[:, :, :, :4, :4], torch.randn(2, 2, 2, 2, 2)
    both = loss_of(2, "dice", "boundary")([fine, coarse], label)
    overlap = loss_of(2, "dice")([fine, coarse], label)
    torch.testing.assert_close(both - overlap, loss_of(2, "boundary")([fine], label))


def test_terms_are_added_with_their_weights():
    logits, label = draw(2, 3)
    plan = PLAN.model_copy(update={"labels": labels_of(3)})
    both = Loss(plan, LossSettings(terms={"ce": 0.5, "tversky": 2.0}))
    entropy, tversky = (loss_of(3, name)([logits], label) for name in ("ce", "tversky"))
    torch.testing.assert_close(both([logits], label), 0.5 * entropy + 2 * tversky)


def test_class_weights_are_those_of_torch_in_cross_entropy():
    logits, label = draw(3, 3)
    loss = loss_of(3, "ce", class_weights={"background": 0.25, "s2": 4.0})
    expected = torch.nn.functional.cross_entropy(
        logits, label, weight=torch.tensor([0.25, 1.0, 4.0])
    )
    torch.testing.assert_close(loss([logits], label), expected)


def test_class_weights_weigh_the_mean_of_structures():
    logits, label = draw(3, 3)
    each = []
    for kept in (1, 2):  # the Dice of one structure alone: the other's weight is nearly nothing
        weights = {f"s{3 - kept}": 1e-9}
        each.append(loss_of(3, "dice", class_weights=weights)([logits], label))
    weighted = loss_of(3, "dice", class_weights={"s1": 3.0})([logits], label)
    torch.testing.assert_close(weighted, (3 * each[0] + each[1]) / 4)


def test_a_weight_for_no_class_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"'livr'.*'background', 's1'"):
        loss_of(2, class_weights={"livr": 2.0})


def test_patches_alone_or_together():
    logits, label = draw(4, 2)
    label[1] = 0
    label[1, 0, 0, 0] = 1
    alone = loss_of(2, "dice", batch=False)
    each = [alone([logits[i : i + 1]], label[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(alone([logits], label), torch.stack(each).mean())
    assert not torch.isclose(loss_of(2, "dice")([logits], label), alone([logits], label))


def reads(term, **settings) -> bool:
    """Whether a setting changes the loss of three structures."""
    logits, label = draw(5, 4)
    plan = PLAN.model_copy(update={"labels": labels_of(4)})
    unchecked = LossSettings(terms={term: 1.0}).model_copy(update=settings)
    as_it_comes, other = loss_of(4, term), Loss(plan, unchecked)
    return not torch.allclose(as_it_comes([logits], label), other([logits], label))


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize(
    "settings",
    [
        {"batch": False},
        {"class_weights": {"s1": 3.0}},
        {"class_weights": {"background": 3.0}},
        {"focal_gamma": 1.0},
        {"false_positives": 0.6},
        {"false_negatives": 0.6},
        {"tversky_gamma": 0.5},
        {"skeleton_steps": 1},
    ],
    ids=str,
)
def test_a_setting_is_taken_where_the_term_reads_it_and_refused_elsewhere(term, settings):
    if reads(term, **settings):
        assert loss_of(4, term, **settings)
    else:
        with pytest.raises(ValueError, match="not among the terms; take it out"):
            loss_of(4, term, **settings)
    assert loss_of(4, "ce", "tversky", "focal", "focal_tversky", "cldice", **settings)


@pytest.mark.parametrize(
    ("term", "batch"),
    [(t, True) for t in TERMS] + [(t, False) for t in TERMS if t in OF_TERMS["batch"]],
)
def test_a_sure_and_right_answer_is_the_best_there_is(term, batch):
    label = torch.zeros(2, 8, 8, 8, dtype=torch.int64)
    label[:, 2:6, 2:6, 2:6], label[0, 6:, 6:, 6:] = 1, 2
    loss = loss_of(3, term, batch=batch)
    right = float(loss([sure_of(label, 3)], label))
    wrong = float(loss([sure_of(label.roll(3, dims=1), 3)], label))
    unsure = float(loss([torch.zeros(2, 3, 8, 8, 8)], label))
    assert right < wrong
    assert right < unsure
    if term != "boundary":  # its least value is the mean depth inside, below 0
        assert right == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("term", TERMS)
def test_a_structure_in_neither_answer_nor_truth_costs_nothing(term):
    label = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    value = float(loss_of(3, term)([sure_of(label, 3)], label))
    assert value == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("term", TERMS)
def test_a_gradient_is_what_a_small_step_gives(term):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(1, 3, 4, 4, 4, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (1, 4, 4, 4), generator=generator)
    loss = loss_of(3, term)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss([logits], label), logits)
    direction = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        step = 1e-6 * direction  # small enough to cross no kink
        slope = (loss([logits + step], label) - loss([logits - step], label)) / 2e-6
    torch.testing.assert_close(slope, (gradient * direction).sum(), rtol=1e-4, atol=1e-7)


def test_several_scales_of_a_half_precision_network_give_a_loss_in_full_precision():
    logits, label = draw(6, 3)
    value = loss_of(3)([logits.bfloat16()], label)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss_of(3)([logits], label), rtol=0.02, atol=0.02)


def test_what_a_loss_keeps_of_a_logit_is_what_plans_count():
    for terms, steps in (
        (("dice", "ce"), 3),
        (("dice", "ce", "cldice"), 2),
        (("dice", "cldice"), 5),
    ):
        settings = {"skeleton_steps": steps} if "cldice" in terms else {}
        loss = loss_of(4, *terms, **settings)
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(1, 4, 16, 16, 16, generator=generator).requires_grad_()
        label = torch.randint(0, 4, (1, 16, 16, 16), generator=generator)
        kept, held = {}, []

        def keep(tensor, kept=kept, held=held):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            held.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss([logits], label)
        told = count_bytes(LossSettings(terms=dict.fromkeys(terms, 1.0), **settings))
        found = sum(kept.values()) / logits.numel()
        assert found <= told <= found + 30
