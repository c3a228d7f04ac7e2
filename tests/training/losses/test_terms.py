"""Each term is MONAI's number where MONAI has it, and worked by hand where it is a few voxels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import losses as monai
from monai.networks.utils import one_hot

from tests.training.losses.drawn import draw, loss_of

COMMON = {"to_onehot_y": True, "softmax": True, "include_background": False}
SMOOTH = {"smooth_nr": 1e-5, "smooth_dr": 1e-5}
SEEDS = st.integers(0, 999)


def close(term, oracle, seed, classes, **kwargs):
    logits, label = draw(seed, classes)
    expected = oracle(logits, label[:, None])
    found = loss_of(classes, term, **kwargs)([logits], label)
    torch.testing.assert_close(found, expected.reshape(()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [True, False])
@given(seed=SEEDS, classes=st.integers(2, 5))
def test_dice(batch, seed, classes):
    close("dice", monai.DiceLoss(**COMMON, **SMOOTH, batch=batch), seed, classes, batch=batch)


@given(seed=SEEDS, classes=st.integers(2, 5), gamma=st.floats(0, 4))
def test_focal(seed, classes, gamma):
    oracle = monai.FocalLoss(gamma=gamma, to_onehot_y=True, use_softmax=True)
    # MONAI divides by the classes as well as by the voxels.
    close("focal", lambda x, y: classes * oracle(x, y), seed, classes, focal_gamma=gamma)


@pytest.mark.parametrize("batch", [True, False])
@given(seed=SEEDS, classes=st.integers(2, 5), share=st.floats(0.1, 0.9))
def test_tversky(batch, seed, classes, share):
    oracle = monai.TverskyLoss(**COMMON, **SMOOTH, alpha=share, beta=1 - share, batch=batch)
    weights = {"false_positives": share, "false_negatives": 1 - share}
    close("tversky", oracle, seed, classes, batch=batch, **weights)


@given(seed=SEEDS)
def test_focal_tversky_is_a_power_of_tversky_for_one_structure(seed):
    logits, label = draw(seed, 2)
    tversky = loss_of(2, "tversky")([logits], label)
    torch.testing.assert_close(
        loss_of(2, "focal_tversky", tversky_gamma=0.5)([logits], label), tversky**0.5
    )


@pytest.mark.parametrize("batch", [True, False])
@given(seed=SEEDS, classes=st.integers(3, 5))
def test_generalised_dice(batch, seed, classes):
    # Its own constant is large beside weights of 1 / volume**2; ours shrinks with them.
    oracle = monai.GeneralizedDiceLoss(**COMMON, smooth_nr=1e-9, smooth_dr=1e-9, batch=batch)
    close("generalised_dice", oracle, seed, classes, batch=batch)


@settings(max_examples=20)
@given(seed=SEEDS, classes=st.integers(3, 4))
def test_cldice(seed, classes):
    oracle = monai.SoftclDiceLoss(iter_=2, include_background=False)

    def on_classes(x, y):
        return oracle(torch.softmax(x, 1), one_hot(y, classes).float())

    close("cldice", on_classes, seed, classes, skeleton_steps=2)


@pytest.mark.parametrize("batch", [True, False])
@settings(max_examples=20)
@given(seed=SEEDS, classes=st.integers(3, 4))
def test_hausdorff(batch, seed, classes):
    close("hausdorff", monai.HausdorffDTLoss(**COMMON, batch=batch), seed, classes)


@pytest.mark.parametrize("batch", [True, False])
@settings(max_examples=20)
@given(seed=SEEDS, classes=st.integers(3, 4))
def test_boundary(batch, seed, classes):
    close("boundary", monai.BoundaryLoss(**COMMON, batch=batch), seed, classes)


def test_two_voxels_by_hand():
    """One voxel of a structure seen with probability 0.8, one of background with 0.6 of itself."""
    logits = torch.tensor([[[math.log(0.2), math.log(0.6)], [math.log(0.8), math.log(0.4)]]])
    logits, label = logits.view(1, 2, 2, 1, 1), torch.tensor([1, 0]).view(1, 2, 1, 1)

    def value(term: str, **settings) -> float:
        return float(loss_of(2, term, **settings)([logits], label))

    tp, fp, fn = 0.8, 0.4, 0.2
    tversky = 1 - tp / (tp + 0.3 * fp + 0.7 * fn)
    assert value("dice") == pytest.approx(1 - 2 * tp / (2 * tp + fp + fn), abs=1e-4)
    assert value("generalised_dice") == pytest.approx(value("dice"), abs=1e-4)
    assert value("tversky") == pytest.approx(tversky, abs=1e-4)
    assert value("focal_tversky") == pytest.approx(tversky**0.75, abs=1e-4)
    assert value("ce") == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    by_focus = -(0.04 * math.log(0.8) + 0.16 * math.log(0.6)) / 2
    assert value("focal", focal_gamma=2) == pytest.approx(by_focus, abs=1e-5)
    # Signed distances are 0 in the structure's only voxel and 1 beside it.
    assert value("boundary") == pytest.approx(0.4 / 2)


def test_less_is_lost_on_a_tube_that_is_whole_than_on_one_that_is_broken():
    label = torch.zeros(1, 9, 9, 15, dtype=torch.int64)
    label[:, 3:6, 3:6, :] = 1
    broken, thinner = label.clone(), label.clone()
    broken[..., 7:8] = 0  # 9 voxels, and the tube is in two
    thinner[:, 5, 3:6, :9] = 0  # 27 voxels of its skin

    def lost(found: torch.Tensor) -> float:
        logits = 20 * torch.nn.functional.one_hot(found, 2).movedim(-1, 1).float()
        return float(loss_of(2, "cldice")([logits], label))

    assert lost(thinner) < lost(broken)


def test_generalised_dice_of_large_structures_is_near_one_where_none_is_found():
    label = torch.zeros(1, 100, 100, 110, dtype=torch.long)
    label[:, :, :, :100] = 1
    nothing = torch.stack((label * 0.0 + 20, label * 0.0 - 20), dim=1)
    assert float(loss_of(2, "generalised_dice")([nothing], label)) == pytest.approx(1, abs=1e-3)
    right = torch.stack((20.0 - 40 * label, 40.0 * label - 20), dim=1)
    assert float(loss_of(2, "generalised_dice")([right], label)) == pytest.approx(0, abs=1e-3)
