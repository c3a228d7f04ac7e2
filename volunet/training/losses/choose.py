"""The loss for a plan: of structures or regions, or of estimated images."""

from __future__ import annotations

import torch

from volunet.planning.plan import Plan
from volunet.training.losses.loss import Loss
from volunet.training.losses.settings import LossSettings
from volunet.training.losses.values import ValueLoss
from volunet.training.processes import ALONE, Processes


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
