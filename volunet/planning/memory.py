"""How much memory a plan will take, in bytes, before any of it is taken.

Training keeps, for each convolution, its output and the output of its normalisation until the
backward pass; inference keeps only what the current stage and the skip connections need. The
constants were fitted to measured peaks (benchmarks/memory.py holds the runs).
"""

from __future__ import annotations

from math import prod

from volunet.planning.plan import Plan

Size = tuple[int, int, int]

PROCESS_BYTES = 0.75e9
"""A process with torch, MONAI, ignite and nibabel loaded and its threads' buffers in use."""
TRAINING_COPIES = 3.2
"""Feature maps that stay alive in a training step for each convolution's output."""
INFERENCE_COPIES = 3.0
"""Full-size feature maps that are alive at once in the finest stage, at inference."""
WEIGHT_COPIES = 6
"""Weights in float32: themselves, gradient, two moments, the average, and its saved copy."""


def stage_voxels(plan: Plan) -> list[float]:
    """Voxels of a patch at each stage, finest first."""
    voxels = [float(prod(plan.patch))]
    for stride in plan.strides:
        voxels.append(voxels[-1] / prod(stride))
    return voxels


def count_weights(plan: Plan) -> int:
    """About how many weights the plan's network has."""
    sizes = list(zip(plan.features, (prod(k) for k in plan.kernels), strict=True))
    before, total = len(plan.channels), 0
    for features, kernel in sizes:
        total += kernel * features * (before + features)
        before = features
    for (fine, kernel), coarse in zip(sizes[:-1], plan.features[1:], strict=True):
        total += 8 * coarse * fine + kernel * fine * 3 * fine
    return total


def training_bytes(plan: Plan, *, half: bool = True) -> float:
    """Peak memory of a training step, the process included.

    Args:
        half: feature maps take two bytes (bfloat16), not four.
    """
    maps = [n * f for n, f in zip(stage_voxels(plan), plan.features, strict=True)]
    convolutions = 2 * sum(maps) + 3.5 * sum(maps[:-1])
    logits = stage_voxels(plan)[0] * plan.labels.classes * 4 * 4
    width = 2 if half else 4
    active = plan.batch * (convolutions * TRAINING_COPIES * width + logits)
    return PROCESS_BYTES + active + 4 * WEIGHT_COPIES * count_weights(plan)


def inference_bytes(plan: Plan, shape: Size, scan: Size, *, half: bool = True) -> float:
    """Peak memory of one scan at inference, the process included.

    Args:
        shape: of the scan on the plan's grid.
        scan: shape of the scan itself.
    """
    voxels, width = stage_voxels(plan), 2 if half else 4
    network = INFERENCE_COPIES * voxels[0] * 2 * plan.features[0] * width
    network += sum(n * f * width for n, f in zip(voxels, plan.features, strict=True))
    classes, channels = plan.labels.classes, len(plan.channels)
    rows = min(2 * plan.patch[0], shape[0])
    ring = classes * rows * prod(shape[1:]) * 4 * 2
    images = channels * (prod(shape) * 4 * 2 + prod(scan) * 4) + prod(scan) * 2
    return PROCESS_BYTES + network + ring + images + 4 * count_weights(plan)
