"""Masks decide whether an engine agrees; background alone proves nothing."""

from __future__ import annotations

import math

import pytest
import torch

from volunet.inference.engines.agreement import compare
from volunet.inference.rule import LAST_POSITIVE


def sure(labels: torch.Tensor, classes: int = 3, margin: float = 10.0) -> torch.Tensor:
    """Logits (1, classes, *S) that favour the given labels by a margin."""
    return margin * torch.nn.functional.one_hot(labels, classes).movedim(-1, 0)[None].float()


def half_and_half() -> torch.Tensor:
    labels = torch.zeros(20, 20, 20, dtype=torch.long)
    labels[10:] = 1
    return labels


def test_an_engine_agrees_with_itself():
    logits = sure(half_and_half())
    seen = compare(logits, logits)
    assert (seen.difference, seen.equal, seen.dice) == (0, 1, 1)
    assert all(seen.complaint(p) == "" for p in ("fp32", "bf16", "fp16"))


def test_difference_is_a_share_of_the_range_of_logits():
    logits = sure(half_and_half())
    seen = compare(logits + 0.02, logits)
    assert seen.difference == pytest.approx(0.002, rel=1e-3)
    assert "logits differ by 2.0e-03 of their range" in seen.complaint("fp32")
    assert seen.complaint("bf16") == ""


def test_dice_is_of_the_worst_structure_and_counts_more_than_background():
    labels = torch.zeros(40, 40, 40, dtype=torch.long)
    labels[:5, :5, :5] = 1
    other = labels.clone()
    other[0, 0, :2] = 0
    seen = compare(sure(other), sure(labels))
    assert seen.equal == pytest.approx(1 - 2 / 64000)
    assert seen.dice == pytest.approx(2 * 123 / (123 + 125))
    assert "a structure has a Dice of 0.9919" not in seen.complaint("bf16")
    other[0, 0, :5] = 0
    assert "a structure has a Dice of 0.9796" in compare(sure(other), sure(labels)).complaint(
        "bf16"
    )


def test_a_structure_of_few_voxels_has_no_dice():
    labels = half_and_half()
    labels[0, 0, :99] = 2
    other = labels.clone()
    other[0, 0, :] = 0
    assert compare(sure(other), sure(labels)).dice == 1


def test_all_background_is_compared_where_classes_would_meet():
    torch.manual_seed(0)
    reference = torch.randn(1, 3, 20, 20, 20)
    reference[:, 0] += 100
    noise = torch.randn_like(reference)
    assert compare(reference + 1e-4 * noise, reference).complaint("bf16") == ""
    bad = compare(reference + noise, reference)
    assert bad.dice is None
    assert bad.equal < 0.7
    assert "95.00% are needed" in bad.complaint("bf16")


def test_regions_that_overlap_are_compared_as_the_labels_they_make():
    """Where no region is positive it is background, whichever of them is the largest."""
    inside = half_and_half().bool()
    regions = torch.stack([torch.where(inside, 5.0, -5.0), torch.full(inside.shape, -5.0)])[None]
    other = regions.clone()
    other[:, 1][~inside[None]] += 1.0
    assert compare(other, regions, LAST_POSITIVE).equal == 1
    assert compare(other, regions, LAST_POSITIVE).dice == 1
    other[:, 1] += 10.0
    assert compare(other, regions, LAST_POSITIVE).equal == 0


def test_what_is_not_finite_agrees_with_nothing():
    logits = sure(half_and_half())
    broken = logits.clone()
    broken[0, 0, 0, 0, 0] = math.nan
    seen = compare(broken, logits)
    assert seen.equal == 0
    assert all(seen.complaint(p) for p in ("fp32", "bf16", "fp16"))
