"""Whether an engine gives the masks that torch gives in float32, and by how much it differs.

Logits are (B, heads, *S). Three questions are put, of which the last two matter to masks:

- how far do logits lie apart (float32 only): their root mean square difference as a share of the
  spread of the reference's, and the largest as a share of the range, which depends much on the
  windows (constant air magnifies an engine's rounding) and so only has a loose bar;
- in how many voxels is the class the same;
- what is the Dice of each structure that occurs, as most voxels are background.

Where no structure occurs, the same class everywhere proves nothing. Each head's logits are then
shifted to mean zero, so that all classes meet in the image, and the shifted classes are compared: a
harder question, of voxels where the network has no opinion, and so with a lower bar.

Where a network estimates values there are no classes: a voxel is the same where its values lie
within `SAME_VALUE` of the spread of the reference's, and all together may not be further off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from volunet.inference.rule import MOST_LIKELY, NO_CLASSES, Rule

ENOUGH_VOXELS = 100
"""Fewer voxels than these are too few to take a Dice of."""

LEAST_DICE = 0.99
LEAST_EQUAL = {"fp32": 0.9999, "bf16": 0.99, "fp16": 0.99}
LEAST_EQUAL_SHIFTED = {"fp32": 0.999, "bf16": 0.95, "fp16": 0.95}
SAME_VALUE = 0.02
"""Of a standard deviation: a PSNR of 46 dB, where the range is four standard deviations, and more
where it is longer."""
SAME_LOGITS = 1e-3
"""Root mean square between two engines that both compute in float32, in standard deviations."""
MOST_DIFFERENT = 0.05
"""Of the range of logits, in any voxel, between two engines that both compute in float32."""


@dataclass(frozen=True)
class Agreement:
    """How an engine's logits compare with the reference's.

    Args:
        difference: largest, as a share of the range of the reference's logits.
        apart: root mean square of the differences, in standard deviations of the reference: of
            all logits, or of the values of the target that has most.
        equal: share of voxels with the same class, or the same value.
        dice: least among structures with at least `ENOUGH_VOXELS` voxels; None where none has.
        of_values: there are no classes.
    """

    difference: float
    apart: float
    equal: float
    dice: float | None
    of_values: bool = False

    def complaint(self, precision: str) -> str:
        """Why masks would not be the same; "" where they are."""
        what, bars = "class", LEAST_EQUAL if self.dice is not None else LEAST_EQUAL_SHIFTED
        if self.of_values:
            what, bars = "value", LEAST_EQUAL
        if not self.equal >= bars[precision]:  # also where it is no number
            return (
                f"the same {what} in {self.equal:.2%} of voxels, {bars[precision]:.2%} are needed"
            )
        if self.of_values and not self.apart <= SAME_VALUE:
            return f"values differ by {self.apart:.2g} of their spread, {SAME_VALUE:g} is the most"
        if self.dice is not None and not self.dice >= LEAST_DICE:
            return f"a structure has a Dice of {self.dice:.4f}, {LEAST_DICE} is needed"
        return self._complaint_of_logits() if precision == "fp32" else ""

    def _complaint_of_logits(self) -> str:
        if not self.apart <= SAME_LOGITS:
            most = f"{SAME_LOGITS:g} is the most"
            return f"logits differ by {self.apart:.1e} of their spread, {most}"
        if not self.difference <= MOST_DIFFERENT:
            most = f"{MOST_DIFFERENT:g} is the most"
            return f"a logit differs by {self.difference:.1e} of their range, {most}"
        return ""


def compare(answer: Tensor, reference: Tensor, rule: Rule = MOST_LIKELY) -> Agreement:
    """How `answer` compares with `reference`, both (B, heads, *S).

    An answer that is not finite differs without limit and is equal nowhere.

    Args:
        rule: how logits make classes.
    """
    pairs = [(a.cpu().float(), r.cpu()) for a, r in zip(answer, reference, strict=True)]
    heads = [heads for a, r in pairs for heads in zip(a, r, strict=True)]
    if not all(a.isfinite().all() for a, _ in heads):
        return Agreement(math.inf, math.inf, 0.0, None, of_values=rule is NO_CLASSES)
    span = float(reference.max() - reference.min())
    largest = max(float((a - r).abs().max()) for a, r in heads) / max(span, torch.finfo().tiny)
    if rule is NO_CLASSES:
        return _compare_values(largest, heads)
    squared = sum(float((a - r).square().mean()) for a, r in heads) / len(heads)
    apart = math.sqrt(squared) / max(float(reference.std(correction=0)), torch.finfo().tiny)
    classes = [(rule.of_map(a), rule.of_map(r)) for a, r in pairs]
    dice = _least_dice(classes, rule.most(reference.shape[1]) + 1)
    if dice is None:
        means = [r.flatten(1).mean(1).view(-1, *[1] * (r.ndim - 1)) for _, r in pairs]
        classes = [
            (rule.of_map(a - mean), rule.of_map(r - mean))
            for (a, r), mean in zip(pairs, means, strict=True)
        ]
    equal = sum(float((got == wanted).float().mean()) for got, wanted in classes) / len(classes)
    return Agreement(largest, apart, equal, dice)


def _compare_values(largest: float, heads: list[tuple[Tensor, Tensor]]) -> Agreement:
    """Of the head that agrees least: the share of voxels with the same value, and how far off."""
    equal, apart = 1.0, 0.0
    for found, wanted in heads:
        spread = wanted.std().clamp_min(torch.finfo().tiny)
        off = (found - wanted).abs() / spread
        equal = min(equal, float((off <= SAME_VALUE).float().mean()))
        apart = max(apart, float(off.square().mean().sqrt()))
    return Agreement(largest, apart, equal, None, of_values=True)


def _least_dice(pairs: list[tuple[Tensor, Tensor]], classes: int) -> float | None:
    def count(maps: Iterable[Tensor]) -> Tensor:
        return sum(
            (torch.bincount(m.flatten(), minlength=classes) for m in maps),
            torch.zeros(classes, dtype=torch.int64),
        )

    sizes = count(wanted for _, wanted in pairs)
    shared = count(wanted[wanted == got] for got, wanted in pairs)
    dice = 2 * shared / (sizes + count(got for got, _ in pairs))
    large = [c for c in range(1, classes) if sizes[c] >= ENOUGH_VOXELS]
    return min((float(dice[c]) for c in large), default=None)
