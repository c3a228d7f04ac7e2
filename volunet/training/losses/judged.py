"""A network's answers beside the truth, in the form that every term of a loss wants them.

Two kinds of voxels are no truth to learn from. What nobody judged (the ignore value) counts in no
term. A structure that nobody drew in a case (`drawn`) may be anywhere that the case calls
background: there the network may say either, so its share is added to that of background (the
marginal loss of Fang and Yan 2020, arXiv:2001.02040, and Shi et al. 2021, arXiv:2007.03868). Moving
a voxel from background to such a structure changes no loss, and gives no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from volunet.training.processes import ALONE, Processes


@dataclass(frozen=True)
class Judged:
    """Answers and truth of a batch, for K structures, or K regions that may overlap.

    Args:
        right: (B, 1, *S), the log-probability of what is true, or (B, K, *S) for regions; 0 where
            nothing is known. Float32, as all of this, or float64 where logits are.
        worth: how much each of these counts among voxels, (B, 1, *S) or (B, K, *S); None for all
            alike.
        share: (B, K, *S), the probability of each structure; 0 where nothing is known.
        truth: (B, K, *S) bool, where each structure is.
        drawn: (B, K) bool, which structures were drawn in each case; None for all.
        weights: (K,), how much each structure counts among structures; None for alike.
        processes: whose batches make one together.
    """

    right: Tensor
    worth: Tensor | None
    share: Tensor
    truth: Tensor
    drawn: Tensor | None = None
    weights: Tensor | None = None
    processes: Processes = ALONE

    def sum(self, values: Tensor) -> Tensor:
        """The sum of what every process has."""
        return self.processes.sum(values)

    def mean_of_voxels(self, values: Tensor) -> Tensor:
        """The mean of values of the shape of `right`, by `worth`; 0 where no voxel counts."""
        if self.worth is None:  # processes have batches of one size
            return self.sum(values.mean()) / self.processes.count
        counts = self.sum(self.worth.sum()).clamp_min(1e-6)
        return self.sum((values * self.worth).sum()) / counts

    def mean_of_structures(self, values: Tensor) -> Tensor:
        """The mean of (K,) for a batch, or (B, K), over what was drawn."""
        if self.drawn is None and self.weights is None:
            return self.sum(values.mean()) / self.processes.count
        counts = torch.ones_like(values) if self.weights is None else self.weights.expand_as(values)
        if self.drawn is not None:
            somewhere = self.sum(self.drawn.any(dim=0).float()) > 0
            counts = counts * (self.drawn if values.ndim == 2 else somewhere)
        weight = self.sum(counts.sum()).clamp_min(1e-6)
        return self.sum((values * counts).sum()) / weight


def judge(
    logits: Tensor,
    label: Tensor,
    *,
    ignore: int | None = None,
    drawn: Tensor | None = None,
    weights: Tensor | None = None,
    processes: Processes = ALONE,
) -> Judged:
    """Softmax of the logits, beside the truth.

    Args:
        logits: (B, classes, *S).
        label: (B, *S) class indices, 0 for background.
        ignore: class index of voxels that nobody judged.
        drawn: (B, classes) bool, which classes were drawn in each case; background always is. A
            voxel that carries a class its case does not draw counts as background.
        weights: (classes,), how much each class counts, background first.
        processes: whose batches make one together; this one alone unless given.
    """
    full = torch.promote_types(logits.dtype, torch.float32)
    scores = torch.log_softmax(logits.to(full), dim=1)
    known = None if ignore is None else label != ignore
    target = label if known is None else torch.where(known, label, 0)
    if drawn is not None:
        seen = drawn.gather(1, target.flatten(1)).view_as(target)
        target = torch.where(seen, target, 0)
        scores = _merged(scores, drawn)
    right = scores.gather(1, target[:, None])
    worth = None if weights is None else weights[target][:, None]
    structures = torch.arange(1, logits.shape[1], device=logits.device)
    truth = target[:, None] == structures.view(1, -1, *[1] * (label.ndim - 1))
    share = scores[:, 1:].exp()
    if known is not None:
        known = known[:, None]
        right = torch.where(known, right, 0)
        worth = known.float() if worth is None else worth * known
        share, truth = share * known, truth & known
    return Judged(
        right=right,
        worth=worth,
        share=share,
        truth=truth,
        drawn=None if drawn is None else drawn[:, 1:],
        weights=None if weights is None else weights[1:],
        processes=processes,
    )


def judge_regions(
    logits: Tensor,
    label: Tensor,
    members: Tensor,
    *,
    ignore: int | None = None,
    drawn: Tensor | None = None,
    weights: Tensor | None = None,
    processes: Processes = ALONE,
) -> Judged:
    """Sigmoid of the logits, one for each of K regions, beside the truth.

    Args:
        logits: (B, K, *S).
        label: (B, *S) class indices, 0 for background.
        members: (classes, K) bool, which classes each region unites.
        ignore: class index of voxels that nobody judged.
        drawn: (B, classes) bool, which classes were drawn in each case. A region counts in cases
            that drew all of it.
        weights: (K,), how much each region counts.
        processes: whose batches make one together; this one alone unless given.
    """
    full = logits.to(torch.promote_types(logits.dtype, torch.float32))
    known = torch.ones_like(label, dtype=torch.bool) if ignore is None else label != ignore
    truth = members[torch.where(known, label, 0)].movedim(-1, 1)
    counted = known[:, None].expand_as(truth)
    whole = None
    if drawn is not None:
        whole = ~(~drawn[:, :, None] & members).any(dim=1)
        counted = counted & whole.view(*whole.shape, *[1] * (label.ndim - 1))
    worth = None if ignore is None and drawn is None and weights is None else counted.float()
    if worth is not None and weights is not None:
        worth = worth * weights.view(1, -1, *[1] * (label.ndim - 1))
    return Judged(
        right=torch.where(counted, logsigmoid(torch.where(truth, full, -full)), 0),
        worth=worth,
        share=full.sigmoid() * counted,
        truth=truth & counted,
        drawn=whole,
        weights=weights,
        processes=processes,
    )


def _merged(scores: Tensor, drawn: Tensor) -> Tensor:
    """Log-probabilities with the structures that nobody drew added to background."""
    hidden = ~drawn.view(*drawn.shape, *[1] * (scores.ndim - 2))
    background = torch.zeros_like(hidden[:1])
    background[:, 0] = True
    nothing = float("-inf")
    united = scores.masked_fill(~(hidden | background), nothing).logsumexp(dim=1, keepdim=True)
    return torch.cat([united, scores[:, 1:].masked_fill(hidden[:, 1:], nothing)], dim=1)
