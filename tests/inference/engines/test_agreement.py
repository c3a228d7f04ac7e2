"""Masks decide whether an engine agrees; background alone proves nothing."""

from __future__ import annotations

import math

import pytest
import torch

from volunet.inference.engines.agreement import (
    LEAST_EQUAL,
    MOST_DIFFERENT,
    SAME_LOGITS,
    SAME_VALUE,
    compare,
)
from volunet.inference.rule import LAST_POSITIVE, NO_CLASSES


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
    assert (seen.difference, seen.apart, seen.equal, seen.dice) == (0, 0, 1, 1)
    assert all(seen.complaint(p) == "" for p in ("fp32", "bf16", "fp16"))


def test_logits_lie_apart_by_a_share_of_their_spread():
    """Two thirds of them are 0, the others 10: a standard deviation of 10 * sqrt(2) / 3."""
    logits = sure(half_and_half())
    seen = compare(logits + 0.02, logits)
    assert seen.difference == pytest.approx(0.002, rel=1e-3)
    assert seen.apart == pytest.approx(0.02 * 3 / (10 * math.sqrt(2)), rel=1e-3)
    assert "logits differ by 4.2e-03 of their spread, 0.001 is the most" in seen.complaint("fp32")
    assert seen.complaint("bf16") == ""


@pytest.mark.parametrize(("share", "agrees"), [(0.9, True), (1.1, False)])
def test_the_bar_on_the_spread_of_logits(share, agrees):
    logits = sure(half_and_half())
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    noise = noise / noise.square().mean().sqrt()
    seen = compare(logits + share * SAME_LOGITS * logits.std() * noise, logits)
    assert seen.apart == pytest.approx(share * SAME_LOGITS, rel=1e-2)
    assert (seen.complaint("fp32") == "") is agrees


@pytest.mark.parametrize(("share", "agrees"), [(0.9, True), (1.1, False)])
def test_one_logit_may_differ_by_more_than_all_but_not_without_limit(share, agrees):
    """It is one of 41,472 and moves no class, so that only its own size can tell."""
    labels = torch.zeros(24, 24, 24, dtype=torch.long)
    labels[12:] = 1
    logits = sure(labels)
    other = logits.clone()
    other[0, 0, 0, 0, 0] += share * MOST_DIFFERENT * 10
    seen = compare(other, logits)
    assert seen.apart < SAME_LOGITS
    assert seen.equal == 1
    assert (seen.complaint("fp32") == "") is agrees
    assert agrees or "a logit differs by 5.5e-02 of their range" in seen.complaint("fp32")
    assert seen.complaint("bf16") == ""


def test_logits_without_any_spread_are_compared():
    flat = torch.full((1, 2, 8, 8, 8), 3.0)
    assert compare(flat, flat).complaint("fp32") == ""
    assert compare(flat + 1e-3, flat).complaint("fp32") != ""


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


def values(heads: int = 1, batch: int = 2) -> torch.Tensor:
    """Estimates with a spread of 1, and another mean for each head."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(batch, heads, 20, 20, 20, generator=generator)
    return made + 5.0 * torch.arange(heads).view(1, -1, 1, 1, 1)


def test_estimates_agree_with_themselves():
    seen = compare(values(3), values(3), NO_CLASSES)
    assert (seen.difference, seen.equal, seen.dice, seen.of_values) == (0, 1, None, True)
    assert all(seen.complaint(p) == "" for p in ("fp32", "bf16", "fp16"))


def test_a_small_difference_is_the_same_value_and_a_large_one_is_not():
    reference = values()
    spread = float(reference.std())
    seen = compare(reference + 0.9 * SAME_VALUE * spread, reference, NO_CLASSES)
    assert seen.equal == 1
    assert all(seen.complaint(p) == "" for p in ("bf16", "fp16"))
    seen = compare(reference + 1.1 * SAME_VALUE * spread, reference, NO_CLASSES)
    assert seen.equal == 0
    assert "the same value in 0.00% of voxels, 99.00% are needed" in seen.complaint("bf16")


def test_float32_may_differ_by_less_than_the_same_value():
    reference = values()
    spread = float(reference.std())
    near, far = (
        compare(reference + by * SAME_LOGITS * spread, reference, NO_CLASSES) for by in (0.9, 1.1)
    )
    assert (near.equal, far.equal) == (1, 1)
    assert near.complaint("fp32") == far.complaint("bf16") == ""
    assert "of their spread" in far.complaint("fp32")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_as_many_voxels_may_be_wrong_as_the_bar_says(precision):
    reference = values(batch=1)
    wrong = torch.zeros_like(reference, dtype=torch.bool)
    wrong.view(-1)[: int((1 - LEAST_EQUAL[precision]) * wrong.numel())] = True
    off = reference + 0.1 * reference.std()
    seen = compare(torch.where(wrong, off, reference), reference, NO_CLASSES)
    assert seen.complaint(precision) == ""
    assert seen.complaint("fp32") != ""
    wrong.view(-1)[: 2 * int(wrong.sum())] = True
    seen = compare(torch.where(wrong, off, reference), reference, NO_CLASSES)
    assert "the same value in 98.00% of voxels" in seen.complaint(precision)


def test_few_voxels_that_are_far_off_are_too_many_where_values_are_estimated():
    reference = values(batch=1)
    wrong = torch.zeros_like(reference, dtype=torch.bool)
    wrong.view(-1)[: int(0.005 * wrong.numel())] = True
    far = torch.where(wrong, reference + 9.0, reference)
    assert "of their spread" in compare(far, reference, NO_CLASSES).complaint("bf16")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_estimates_that_were_rounded_to_two_bytes_agree(precision, dtype):
    reference = values() * 1.0
    rounded = reference.to(dtype)
    assert compare(rounded, reference, NO_CLASSES).complaint(precision) == ""
    assert compare(rounded.float(), reference, NO_CLASSES).equal > 0.99


def test_each_head_is_judged_by_its_own_spread():
    """An error that is nothing beside one target is not excused by it beside another."""
    reference = torch.cat([values(), 1000 * values()], dim=1)
    answer = reference.clone()
    answer[:, 0] += 0.5
    seen = compare(answer, reference, NO_CLASSES)
    assert seen.equal == 0.0  # as the head that agrees least
    assert seen.complaint("bf16") != ""


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_an_estimate_that_is_not_finite_agrees_with_nothing(broken):
    answer = values()
    answer[1, 0, 3, 3, 3] = broken
    seen = compare(answer, values(), NO_CLASSES)
    assert seen.equal == 0
    assert all(seen.complaint(p) for p in ("fp32", "bf16", "fp16"))
    assert "the same value in 0.00% of voxels" in seen.complaint("bf16")


def test_heads_that_estimate_make_no_class():
    assert NO_CLASSES.most(5) == 0
    assert not NO_CLASSES.of_map(values(3)[0]).any()
    assert NO_CLASSES.of_map(values(3)[0]).shape == (20, 20, 20)
    assert NO_CLASSES.of_voxels(torch.ones(7, 3)).tolist() == [0] * 7
