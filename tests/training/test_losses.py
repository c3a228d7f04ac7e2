"""The loss is MONAI's number, knows what to ignore, and weighs scales as it says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceCELoss

from volunet.training.losses import dice_ce, over_scales


def draw(seed: int, classes: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, 4, 5, 6, generator=generator)
    return logits, torch.randint(0, classes, (batch, 4, 5, 6), generator=generator)


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
    monai.cross_entropy = torch.nn.CrossEntropyLoss()
    expected = monai.dice(logits, label[:, None]) + torch.nn.functional.cross_entropy(logits, label)
    torch.testing.assert_close(dice_ce(logits, label), expected, rtol=1e-5, atol=1e-5)


def test_ignored_voxels_change_nothing():
    logits, label = draw(0, 3)
    ignored = label.clone()
    ignored[:, 2:] = 3
    part = dice_ce(logits[:, :, :2], label[:, :2])
    torch.testing.assert_close(dice_ce(logits, ignored, ignore=3), part)
    logits.requires_grad_()
    dice_ce(logits, ignored, ignore=3).backward()
    assert not logits.grad[:, :, 2:].any()
    assert logits.grad[:, :, :2].any()


def test_nothing_but_ignored_voxels_gives_no_loss():
    logits, label = draw(0, 3)
    assert float(dice_ce(logits, torch.full_like(label, 3), ignore=3)) == pytest.approx(0, abs=1e-6)


def test_a_sure_and_right_answer_costs_nothing_and_a_wrong_one_much():
    _, label = draw(0, 3)
    sure = 30 * torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
    assert float(dice_ce(sure, label)) == pytest.approx(0, abs=1e-4)
    assert float(dice_ce(sure.roll(1, dims=1), label)) > 2


def test_each_coarser_scale_counts_half():
    logits, label = draw(1, 2)
    label = label[:, :, :4, :4]
    fine, coarse = logits[:, :, :, :4, :4], torch.randn(2, 2, 2, 2, 2)
    expected = (dice_ce(fine, label) + 0.5 * dice_ce(coarse, label[:, 1::2, 1::2, 1::2])) / 1.5
    torch.testing.assert_close(over_scales((fine, coarse), label), expected)
