"""What training minimises: soft Dice plus cross-entropy, at one scale or at several.

Logits are (B, classes, *S), labels (B, *S) class indices with 0 for background. Source: the sum,
with the Dice of a whole batch and without background, is nnU-Net's (Isensee et al. 2021); soft
Dice is Milletari et al. 2016 (arXiv:1606.04797) with plain sums below the line. MONAI's
`DiceCELoss(include_background=False, batch=True)` gives the same number (a test); this form shares
one softmax between both terms and knows an ignore index.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SMOOTH = 1e-5


def dice_ce(logits: Tensor, label: Tensor, *, ignore: int | None = None) -> Tensor:
    """Soft Dice loss plus cross-entropy, each with weight 1: a scalar in float32.

    Args:
        ignore: class index of voxels that count in neither term.

    Returns:
        The loss, at least -1e-6 and without an upper bound; a class that is neither there nor
        predicted adds almost nothing. 0 where every voxel is ignored.
    """
    scores = torch.log_softmax(logits.float(), dim=1)
    known = None if ignore is None else label != ignore
    target = label if known is None else torch.where(known, label, 0)
    picked = scores.gather(1, target[:, None])
    if known is not None:
        picked = picked * known[:, None]
    count = label.numel() if known is None else known.sum().clamp_min(1)
    entropy = -picked.sum() / count
    classes = torch.arange(1, logits.shape[1], device=logits.device)
    truth = target[:, None] == classes.view(1, -1, *[1] * (label.ndim - 1))
    share = scores[:, 1:].exp()
    if known is not None:
        share, truth = share * known[:, None], truth & known[:, None]
    axes = [0, *range(2, logits.ndim)]
    overlap = (share * truth).sum(axes)
    total = share.sum(axes) + truth.sum(axes)
    return entropy + (1 - (2 * overlap + SMOOTH) / (total + SMOOTH)).mean()


def over_scales(outputs: Sequence[Tensor], label: Tensor, *, ignore: int | None = None) -> Tensor:
    """`dice_ce` at every resolution, each with half the weight of the finer one; weights sum to 1.

    Args:
        outputs: logits, finest first; each later size divides the first.
    """
    total, weights = outputs[0].new_zeros((), dtype=torch.float32), 0.0
    for level, logits in enumerate(outputs):
        steps = [n // m for n, m in zip(label.shape[1:], logits.shape[2:], strict=True)]
        # The voxel in the middle of each block stands for it: no value is made up.
        picked = label[(slice(None), *(slice(s // 2, None, s) for s in steps))]
        total = total + dice_ce(logits, picked, ignore=ignore) * 0.5**level
        weights += 0.5**level
    return total / weights
