"""The loss of a step: the terms that a recipe names, at one scale or at several.

By default soft Dice plus cross-entropy, with the Dice of a whole batch and without background, as
nnU-Net has it (Isensee et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from volunet.errors import ConfigError
from volunet.planning.plan import Plan
from volunet.space.labels import Labels
from volunet.training.losses.judged import Judged, judge, judge_regions
from volunet.training.losses.settings import LossSettings, Term
from volunet.training.losses.terms import FINEST_ONLY, TERMS
from volunet.training.processes import ALONE, Processes

USUAL: Mapping[Term, float] = {"dice": 1.0, "ce": 1.0}


class Loss:
    """What a step minimises.

    Args:
        plan: whose structures or regions the network's logits tell apart.
        settings: the terms and their weights.
        device: where logits will be.
        processes: that train together; this one alone unless given.

    Raises:
        ConfigError: a weight is given to a class that there is not, or a term is about values.
    """

    def __init__(
        self,
        plan: Plan,
        settings: LossSettings | None = None,
        *,
        device: torch.device | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.settings = settings or LossSettings()
        self.terms = self.settings.terms or USUAL
        if wrong := sorted(set(self.terms) - set(TERMS)):
            raise ConfigError(
                f"training.loss.terms has {wrong}, which compare values, and the dataset has "
                f"labels. Take {', '.join(TERMS)}."
            )
        self.ignore = plan.labels.ignore_index
        self.processes = processes
        self.weights = _weights(plan, self.settings, device)
        self.members = _members(plan.labels, device) if plan.regions else None

    def __call__(
        self, outputs: Sequence[Tensor], label: Tensor, *, drawn: Tensor | None = None
    ) -> Tensor:
        """A scalar in float32, or float64 for such logits; 0 where every voxel is ignored.

        Args:
            outputs: logits (B, classes, *S) at each scale, finest first; each later size divides
                the first. A scale has half the weight of the finer one, and weights sum to 1.
            label: (B, *S) class indices.
            drawn: (B, classes) bool, which classes were drawn in each case; None for all.
        """
        coarser = {n: w for n, w in self.terms.items() if n not in FINEST_ONLY}
        shares = [0.5**level for level in range(len(outputs))]
        total = outputs[0].new_zeros((), dtype=torch.float32)
        for level, (logits, share) in enumerate(zip(outputs, shares, strict=True)):
            judged = self._judge(logits, label, drawn)
            if coarser:
                total = total + self._sum(coarser, judged) * (share / sum(shares))
            else:  # a head without a part in the loss would stop processes that train together
                total = total + 0.0 * logits.sum()
            if level == 0:
                form = {n: w for n, w in self.terms.items() if n in FINEST_ONLY}
                total = total + self._sum(form, judged)
        return total

    def _judge(self, logits: Tensor, label: Tensor, drawn: Tensor | None) -> Judged:
        steps = [n // m for n, m in zip(label.shape[1:], logits.shape[2:], strict=True)]
        # The voxel in the middle of each block stands for it: no value is made up.
        picked = label[(slice(None), *(slice(s // 2, None, s) for s in steps))]
        look = judge if self.members is None else partial(judge_regions, members=self.members)
        return look(
            logits,
            picked,
            ignore=self.ignore,
            drawn=drawn,
            weights=self.weights,
            processes=self.processes,
        )

    def _sum(self, terms: Mapping[Term, float], judged: Judged) -> Tensor:
        total = judged.right.new_zeros(())
        for name, weight in terms.items():
            total = total + weight * TERMS[name](judged, self.settings)
        return total


def _weights(plan: Plan, settings: LossSettings, device: torch.device | None) -> Tensor | None:
    if unknown := sorted(set(settings.class_weights) - set(plan.heads)):
        raise ConfigError(
            f"training.loss.class_weights names {unknown}, which the network does not tell apart; "
            f"known are {list(plan.heads)}."
        )
    if not settings.class_weights:
        return None
    weights = [settings.class_weights.get(name, 1.0) for name in plan.heads]
    return torch.tensor(weights, device=device)


def _members(labels: Labels, device: torch.device | None) -> Tensor:
    """Which classes each region unites, (classes, regions) bool."""
    rows = [[value in united for united in labels.regions.values()] for value in labels.values]
    return torch.tensor([[False] * len(labels.regions), *rows], device=device)
