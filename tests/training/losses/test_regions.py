"""Regions that overlap have a sigmoid each, and every loss takes them."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceLoss

from tests.training.tiny import PLAN
from volunet.config import build
from volunet.errors import ConfigError, LabelError
from volunet.planning.plan import Plan
from volunet.space.labels import Labels
from volunet.training.losses.loss import Loss
from volunet.training.losses.settings import LossSettings
from volunet.training.losses.terms import TERMS

TUMOUR = Labels(
    structures={"oedema": 1, "core": 2, "enhancing": 4},
    regions={"whole": (1, 2, 4), "inner": (2, 4), "bright": (4,)},
    ignore=255,
)
REGIONS = PLAN.model_copy(update={"labels": TUMOUR, "regions": True})


def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of three regions, class indices, and where each region is."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 5, 6, generator=generator)
    label = torch.randint(0, 4, (2, 4, 5, 6), generator=generator)
    return logits, label, torch.stack([label >= 1, label >= 2, label == 3], dim=1).float()


def loss_of(*terms: str, **settings) -> Loss:
    return Loss(REGIONS, LossSettings(terms=dict.fromkeys(terms, 1.0), **settings))


@given(st.integers(0, 999))
def test_it_is_the_sum_of_sigmoid_dice_and_binary_cross_entropy(seed):
    logits, label, truth = draw(seed)
    overlap = DiceLoss(sigmoid=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    expected = overlap(logits, truth) + entropy
    torch.testing.assert_close(loss_of("dice", "ce")([logits], label), expected)


@pytest.mark.parametrize("term", TERMS)
def test_each_term_falls_where_a_network_learns(term):
    _, label, truth = draw(0)
    logits = (truth - 0.5).requires_grad_()  # right already, so that no boundary jumps
    loss = loss_of(term)
    values = []
    for _ in range(4):
        value = loss([logits], label)
        values.append(float(value.detach()))
        (slope,) = torch.autograd.grad(value, logits)
        logits = (logits - 0.05 * slope / slope.abs().max()).detach().requires_grad_()
    assert all(b < a for a, b in pairwise(values))


@pytest.mark.parametrize("term", ["dice", "ce", "focal", "tversky"])
def test_ignored_voxels_and_regions_that_were_not_drawn_change_nothing(term):
    logits, label, _ = draw(1)
    label[0, :2] = 4  # the index of the ignore value
    drawn = torch.tensor([[True, True, True, True], [True, True, False, True]])
    logits.requires_grad_()
    loss_of(term)([logits], label, drawn=drawn).backward()
    assert not logits.grad[0, :, :2].any()
    assert logits.grad[0, :, 2:].any()
    # Of the second case only the bright part is known: the others hold the core, which nobody drew.
    assert not logits.grad[1, :2].any()
    assert logits.grad[1, 2].any()


def test_weights_go_by_the_names_of_regions():
    logits, label, truth = draw(2)
    loss = loss_of("ce", class_weights={"bright": 5.0})
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    weights = torch.tensor([1.0, 1.0, 5.0]).view(1, 3, 1, 1, 1).expand_as(each)
    torch.testing.assert_close(loss([logits], label), (each * weights).sum() / weights.sum())
    with pytest.raises(ConfigError, match=r"'oedema'.*'whole', 'inner', 'bright'"):
        loss_of("ce", class_weights={"oedema": 2.0})


def test_a_mask_is_written_from_large_to_small():
    assert TUMOUR.written == (1, 2, 4)
    assert REGIONS.heads == ("whole", "inner", "bright")
    assert REGIONS.way_back(None).regions == (1, 2, 3)
    assert PLAN.way_back(None).regions == ()


@pytest.mark.parametrize(
    "regions",
    [
        {},
        {"whole": (1, 2, 4), "bright": (4,)},
        {"bright": (4,), "inner": (2, 4), "whole": (1, 2, 4)},
        {"one": (1,), "two": (2,), "again": (2,)},
    ],
)
def test_regions_that_make_no_mask_are_told(regions):
    labels = TUMOUR.model_copy(update={"regions": regions})
    why = "from large to small" if regions else "declare no regions"
    with pytest.raises(LabelError, match=why):
        _ = labels.written
    told = PLAN.model_dump(mode="json") | {"labels": labels.model_dump(), "regions": True}
    with pytest.raises(ConfigError, match=why):
        build(Plan, told, at="plan")
