"""How much memory a plan will take, in bytes, before any of it is taken.

What the network itself keeps is counted, layer by layer, on a copy without numbers
(`models.cost`). The few constants stand for what the process, the libraries' buffers and the
allocator add; they were fitted to measured peaks (benchmarks/memory.py), and are on the safe side.
"""

from __future__ import annotations

from math import prod

import torch

from volunet.models.cost import Cost, count
from volunet.models.unet import UNet
from volunet.planning.plan import Plan

Size = tuple[int, int, int]

PROCESS_BYTES = 0.60e9
"""A process with torch, MONAI, ignite and nibabel loaded, and its threads' stacks."""
TRANSIENT_MAPS = 8
"""Full-size maps of the finest stage that come and go in a backward pass, beside what is kept."""
INFERENCE_MAPS = 8
"""Full-size maps of the finest stage that are alive at once in a forward pass without gradients."""
LOGIT_COPIES = 7
"""Copies of the logits in float32 that the loss makes: scores, shares, truth, their products."""
WEIGHT_COPIES = 8
"""Weights in float32: themselves, gradient, two moments, the average, and a checkpoint of these."""


def cost_of(plan: Plan) -> Cost:
    """What the plan's network costs for one patch."""
    with torch.device("meta"):  # weights that are only counted are not drawn
        network = UNet(**plan.network)
    return count(network, plan.patch, in_channels=len(plan.channels))


def training_bytes(plan: Plan, *, half: bool = True) -> float:
    """Peak memory of training, the process included.

    Args:
        half: feature maps take two bytes (bfloat16), not four.
    """
    cost, width, voxels = cost_of(plan), 2 if half else 4, prod(plan.patch)
    passing = TRANSIENT_MAPS * voxels * plan.features[0] * width
    logits = LOGIT_COPIES * voxels * plan.labels.classes * 4
    active = plan.batch * (cost.kept_total * width + passing + logits)
    return PROCESS_BYTES + active + 4 * WEIGHT_COPIES * cost.parameters


def inference_bytes(plan: Plan, shape: Size, scan: Size, *, half: bool = True) -> float:
    """Peak memory of segmenting one scan, the process included.

    Args:
        shape: of the scan on the plan's grid.
        scan: shape of the scan itself.
    """
    width, channels, classes = 2 if half else 4, len(plan.channels), plan.labels.classes
    padded = [max(n, p) for n, p in zip(shape, plan.patch, strict=True)]
    network = INFERENCE_MAPS * prod(plan.patch) * plan.features[0] * width
    # The ring of sums, the slab that leaves it, and the slab before it, held for the way back.
    rows = min(3 * plan.patch[0], 2 * padded[0])
    ring = (classes + 1) * rows * prod(padded[1:]) * 4
    images = channels * (2 * prod(padded) + 2 * prod(scan)) * 4
    masks = 3 * prod(scan)
    weights = 4 * cost_of(plan).parameters
    return PROCESS_BYTES + network + ring + images + masks + weights
