"""How much memory training a plan will take, in bytes, before any of it is taken.

What the network itself keeps is counted, layer by layer, on a copy without numbers
(`models.cost`). The few constants stand for what the process, the libraries' buffers and the
allocator add; they were fitted to measured peaks (benchmarks/memory.py), and are on the safe side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import nn

from volunet.models.cost import Cost, count
from volunet.models.nnunet import NnunetUNet
from volunet.models.unet import UNet
from volunet.planning.any_plan import AnyPlan
from volunet.planning.nnunet_plan import NnunetPlan
from volunet.planning.plan import Plan

PROCESS_BYTES = 0.60e9
"""A process with torch, MONAI, ignite and nibabel loaded, and its threads' stacks."""
TRANSIENT_MAPS = 8
"""Full-size maps of the finest stage that come and go in a backward pass, beside what is kept."""
LOGIT_COPIES = 7
"""Copies of the logits in float32 that the loss makes: scores, shares, truth, their products."""
WEIGHT_COPIES = 8
"""Weights in float32: themselves, gradient, two moments, the average, and a checkpoint of these."""


def cost_of(plan: AnyPlan) -> Cost:
    """What the plan's network costs for one patch."""
    with torch.device("meta"):  # weights that are only counted are not drawn
        network = plan.build_network()
    channels, again = len(plan.channels), network.recompute
    return count(network, plan.patch, in_channels=channels, recompute=again)


def count_weights(plan: AnyPlan) -> int:
    """Weights of the plan's network."""
    make = NnunetUNet if isinstance(plan, NnunetPlan) else UNet
    return _count_weights(make, tuple(plan.network.items()))


@lru_cache(maxsize=8)
def _count_weights(make: Callable[..., nn.Module], arguments: tuple[tuple[str, Any], ...]) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in make(**dict(arguments)).parameters())


def training_bytes(plan: Plan, *, half: bool = True) -> float:
    """Peak memory of training, the process included.

    Args:
        half: feature maps take two bytes (bfloat16), not four.
    """
    cost, width, voxels = cost_of(plan), 2 if half else 4, prod(plan.patch)
    passing = TRANSIENT_MAPS * voxels * plan.features[0] * width
    logits = LOGIT_COPIES * voxels * len(plan.heads) * 4
    active = plan.batch * (cost.kept_total * width + passing + logits)
    return PROCESS_BYTES + active + 4 * WEIGHT_COPIES * cost.parameters
