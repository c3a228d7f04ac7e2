"""The loss for a plan: of structures or regions, or of estimated images."""

from __future__ import annotations

import torch

from volunet.planning.memory import LOSS_BYTES
from volunet.planning.plan import Plan
from volunet.training.losses.loss import Loss
from volunet.training.losses.settings import LossSettings
from volunet.training.losses.values import ValueLoss
from volunet.training.processes import ALONE, Processes

OF_SKELETONS, OF_A_STEP = 54.0, 96.0
"""Bytes that MONAI's clDice keeps of each logit, and more of them for each step of thinning."""


def count_bytes(settings: LossSettings) -> float:
    """What a loss takes of memory for each logit, in bytes, counted from what torch keeps."""
    of_tubes = OF_SKELETONS + OF_A_STEP * settings.skeleton_steps
    return LOSS_BYTES + of_tubes * ("cldice" in (settings.terms or ()))


def loss_for(
    plan: Plan,
    settings: LossSettings,
    *,
    device: torch.device | None = None,
    processes: Processes = ALONE,
) -> Loss | ValueLoss:
    """What a step minimises.

    Raises:
        ConfigError: the settings are about what the plan has none of.
    """
    if plan.targets is not None:
        return ValueLoss(plan, settings, device=device)
    return Loss(plan, settings, device=device, processes=processes)
