"""The terms of a loss: each makes a scalar of a batch's answers and truth.

All but Dice and the two over voxels are MONAI's, given probabilities of structures in which what
counts for nothing is 0 in answer and truth alike, so that it adds to no sum. Dice is written here
because it is in every step: it shares one softmax with cross-entropy. MONAI's focal loss wants
logits, which a case with structures that nobody drew has none of.

A structure that is in neither answer nor truth costs nothing in any term. Where several processes
train together, Dice, cross-entropy and focal are those of all their patches at once; the other
terms are taken in each process, and averaged.

MONAI takes seconds to load, so a term asks for it when it is first computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from volunet.training.losses.judged import Judged
from volunet.training.losses.settings import LossSettings, Term

SMOOTH = 1e-5
FINEST_ONLY: frozenset[Term] = frozenset({"cldice", "hausdorff", "boundary"})
"""Terms about form, which coarse scales have little of."""


def dice(judged: Judged, settings: LossSettings) -> Tensor:
    """One minus soft Dice with plain sums below the line; at least -1e-6 and at most 1."""
    axes = [*([0] if settings.batch else []), *range(2, judged.share.ndim)]
    overlap = (judged.share * judged.truth).sum(axes)
    total = judged.share.sum(axes) + judged.truth.sum(axes)
    if settings.batch:
        overlap, total = judged.sum(overlap), judged.sum(total)
    return judged.mean_of_structures(1 - (2 * overlap + SMOOTH) / (total + SMOOTH))


def cross_entropy(judged: Judged, settings: LossSettings) -> Tensor:
    """Minus the log-probability of what is true; 0 or more."""
    return -judged.mean_of_voxels(judged.right)


def focal(judged: Judged, settings: LossSettings) -> Tensor:
    """Cross-entropy of each voxel times (1 - probability of what is true) ** gamma."""
    missed = (1 - judged.right.exp()).clamp_min(1e-7)  # a power below 1 has no slope at 0
    return -judged.mean_of_voxels(judged.right * missed**settings.focal_gamma)


def tversky(judged: Judged, settings: LossSettings) -> Tensor:
    """One minus TP / (TP + false_positives FP + false_negatives FN); in [0, 1]."""
    return judged.mean_of_structures(_tversky(judged, settings))


def focal_tversky(judged: Judged, settings: LossSettings) -> Tensor:
    """Tversky of each structure raised to `tversky_gamma`."""
    missed = _tversky(judged, settings).clamp_min(1e-7)
    return judged.mean_of_structures(missed**settings.tversky_gamma)


def generalised_dice(judged: Judged, settings: LossSettings) -> Tensor:
    """Dice of all structures together, each weighted by 1 / volume**2; background is left out."""
    from monai.losses.dice import GeneralizedDiceLoss

    # Weights are 1 / volume**2, so what keeps the quotient from 0 / 0 must be as small beside them.
    volumes = judged.truth.sum(dim=(0, *range(2, judged.truth.ndim))).to(judged.share.dtype)
    smallest = torch.where(volumes > 0, volumes, torch.inf).amin()
    smooth: Any = SMOOTH / torch.where(smallest.isinf(), 1.0, smallest).square()
    loss = GeneralizedDiceLoss(batch=settings.batch)
    loss.smooth_nr = loss.smooth_dr = smooth
    given: Tensor = loss(judged.share, judged.truth.float())
    return given


def cldice(judged: Judged, settings: LossSettings) -> Tensor:
    """One minus the Dice of answer and truth along each other's skeletons."""
    from monai.losses.cldice import SoftclDiceLoss

    loss = SoftclDiceLoss(iter_=settings.skeleton_steps)
    given: Tensor = loss(judged.share, judged.truth.float())
    return given


def hausdorff(judged: Judged, settings: LossSettings) -> Tensor:
    """Squared errors weighted by squared distances, in voxels, to the two boundaries."""
    from monai.losses.hausdorff_loss import HausdorffDTLoss

    # Structures go alone: MONAI calls one channel background and warns of what it then does not do.
    loss = HausdorffDTLoss(include_background=True, reduction="none")
    values: Tensor = loss(judged.share, judged.truth.float())
    return judged.mean_of_structures(values.reshape(values.shape[:2]))


def boundary(judged: Judged, settings: LossSettings) -> Tensor:
    """The mean of probability times signed distance to the true boundary in voxels; may be < 0."""
    from monai.losses.boundary_loss import BoundaryLoss

    loss = BoundaryLoss(reduction="none")
    values: Tensor = loss(judged.share, judged.truth.float())
    return judged.mean_of_structures(values)


def _tversky(judged: Judged, settings: LossSettings) -> Tensor:
    from monai.losses.tversky import TverskyLoss

    loss = TverskyLoss(
        alpha=settings.false_positives,
        beta=settings.false_negatives,
        batch=settings.batch,
        reduction="none",
        smooth_nr=SMOOTH,
        smooth_dr=SMOOTH,
    )
    values: Tensor = loss(judged.share, judged.truth.float())
    return values


TERMS: Mapping[Term, Callable[[Judged, LossSettings], Tensor]] = {
    "dice": dice,
    "ce": cross_entropy,
    "focal": focal,
    "tversky": tversky,
    "focal_tversky": focal_tversky,
    "generalised_dice": generalised_dice,
    "cldice": cldice,
    "hausdorff": hausdorff,
    "boundary": boundary,
}
