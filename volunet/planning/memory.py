"""How much memory training a plan will take, in bytes, before any of it is taken.

What the network itself keeps is counted, layer by layer, on a copy without numbers
(`models.cost`). The few constants stand for what the process, the libraries' buffers and the
allocator add; they were fitted to measured peaks (benchmarks/memory.py), and are on the safe side.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import torch
from torch import nn

from volunet.errors import ConfigError, ShapeError, VolunetError
from volunet.models.cost import Cost, count
from volunet.planning.any_plan import AnyPlan
from volunet.planning.nnunet_plan import NnunetPlan
from volunet.planning.plan import Plan

PROCESS_BYTES = 0.65e9
"""A process with torch, MONAI, ignite and nibabel loaded, its threads' stacks, and its scores."""
TRANSIENT_MAPS = 8
"""Full-size maps of the finest stage that come and go in a backward pass, beside what is kept."""
LOSS_BYTES = 28.0
"""What a loss makes of each logit: seven copies in float32 of scores, shares, truth, products."""
KEPT_OF_FINEST = 10
"""Maps of its finest stage that a plain U-Net keeps, for each of that stage's features."""
HOLES = 1.15
"""Of memory that freed blocks leave between those in use (`training.allocator`)."""
WEIGHT_COPIES = 8
"""Weights in float32: themselves, gradient, two moments, the average, and a checkpoint of these."""


Kind = type[Plan] | type[NnunetPlan]


def cost_of(plan: AnyPlan) -> Cost:
    """What the plan's network costs for one patch and its margin."""
    return _cost_of(plan.model_dump_json(), type(plan))


def count_weights(plan: AnyPlan) -> int:
    """Weights of the plan's network."""
    return _count_weights(plan.model_dump_json(), type(plan))


def widest_maps(plan: AnyPlan) -> float:
    """Numbers in the feature maps of the finest stage, or in as many as a network's widest hold.

    A U-Net keeps some ten maps of its finest stage for each of that stage's features, by which the
    constants of `foresight` were fitted; of another network, a tenth of the maps of one size is
    taken that hold most.
    """
    plain = isinstance(plan, NnunetPlan) or plan.family == "unet"
    if plain:
        return float(plan.features[0] * prod(plan.patch))
    return max(cost_of(plan).kept.values()) / KEPT_OF_FINEST


@lru_cache(maxsize=16)
def _cost_of(text: str, kind: Kind) -> Cost:
    plan, network = _ghost(text, kind)
    seen = tuple(p + 2 * around for p, around in zip(plan.patch, plan.margin, strict=True))
    channels, again = len(plan.channels), isinstance(plan, Plan) and plan.recompute
    try:
        return count(network, seen, in_channels=channels, recompute=again)
    except VolunetError:
        raise
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The network of the plan cannot look at a patch of {tuple(plan.patch)}: {error}. Look "
            "at plan.options and plan.patch."
        ) from error


@lru_cache(maxsize=16)
def _count_weights(text: str, kind: Kind) -> int:
    return sum(weight.numel() for weight in _ghost(text, kind)[1].parameters())


def _ghost(text: str, kind: Kind) -> tuple[AnyPlan, nn.Module]:
    """A plan and its network without numbers: weights that are only counted are not drawn."""
    plan = kind.model_validate_json(text)
    with torch.device("meta"):
        return plan, plan.build_network()


def check_learnable(plan: Plan) -> None:
    """Nothing, where a training step of the plan's patches and batch can be made.

    Raises:
        ConfigError: at the coarsest stage a batch is a single voxel, and the network normalises it.
    """
    if prod(plan.patch) > prod(map(prod, plan.strides)):
        return
    _, network = _ghost(plan.model_dump_json(), Plan)
    seen = (p + 2 * around for p, around in zip(plan.patch, plan.margin, strict=True))
    try:
        network.train()(torch.empty(plan.batch, len(plan.channels), *seen, device="meta"))
    except (ShapeError, ValueError) as error:
        raise ConfigError(
            f"Nothing can be learnt from patches of {plan.patch} in batches of {plan.batch}: they "
            f"come down to one voxel, which normalisation leaves nothing of ({error}). Set a "
            "larger plan.patch, fewer stages (plan.features, plan.strides) or a larger plan.batch."
        ) from error


def training_bytes(plan: Plan, *, half: bool = True, loss_bytes: float = LOSS_BYTES) -> float:
    """Peak memory of training, the process included.

    Args:
        half: feature maps take two bytes (bfloat16), not four.
        loss_bytes: that the loss takes for each logit.
    """
    cost, width, voxels = cost_of(plan), 2 if half else 4, prod(plan.patch)
    passing = TRANSIENT_MAPS * widest_maps(plan) * width
    logits = loss_bytes * voxels * len(plan.heads)
    active = plan.batch * (cost.kept_total * width + passing + logits)
    return PROCESS_BYTES + HOLES * active + 4 * WEIGHT_COPIES * cost.parameters
