"""Instance normalisation in OpenVINO with the digits that float32 has.

OpenVINO's own (MVN) adds a whole feature map up in one running sum: over 96^3 voxels a scale comes
out 2e-4 off, a thousand times the rounding of the convolutions round it. Here a mean is taken over
small blocks, then over blocks of those, and each sum is short.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

MANY = 4096
"""Voxels of a map from which on the one sum loses digits that are worth a pass over the map."""
BLOCK = 6
"""Longest side of a block whose mean is taken at once."""


def stage_means(ov: Any, model: Any) -> None:
    """Replaces each normalisation over the voxels of a large map, in place.

    A map that no block divides keeps OpenVINO's own.

    Args:
        ov: the package `openvino`.
        model: of static shapes, its maps (B, C, *S).
    """
    for op in model.get_ordered_ops():
        if op.get_type_name() == "MVN" and _over_all_voxels(op):
            shape = tuple(op.input_value(0).get_shape())
            size = shape[2:]
            if len(size) in (2, 3) and prod(size) >= MANY and prod(blocks(size)) > 1:
                op.output(0).replace(_normalise(ov.opset13, op, shape).output(0))
    model.validate_nodes_and_infer_types()


def blocks(size: tuple[int, ...]) -> tuple[int, ...]:
    """The sides of the blocks that divide a map of such a size, at most `BLOCK` each."""
    return tuple(max(k for k in range(1, BLOCK + 1) if n % k == 0) for n in size)


def _over_all_voxels(op: Any) -> bool:
    """Whether it brings the voxels of each channel to mean 0 and variance 1, eps in the root."""
    asked, axes = op.get_attributes(), op.input_value(1).get_node()
    if axes.get_type_name() != "Constant":
        return False
    rank = len(op.input_value(0).get_shape())
    named = sorted(int(axis) % rank for axis in axes.data.flatten())
    inside = str(asked["eps_mode"]).lower() == "inside_sqrt"
    return bool(asked["normalize_variance"]) and inside and named == list(range(2, rank))


def _normalise(ops: Any, op: Any, shape: tuple[int, ...]) -> Any:
    x = op.input_value(0)
    mean = _mean(ops, x, shape)
    variance = _mean(ops, ops.squared_difference(x, mean), shape)
    eps = ops.constant(op.get_attributes()["eps"], dtype=np.float32)
    root = ops.sqrt(ops.add(variance, eps))
    scale = ops.divide(ops.constant(1.0, dtype=np.float32), root)
    return ops.multiply(ops.subtract(x, mean), scale)


def _mean(ops: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """(B, C, *S) to (B, C, 1, …, 1), in sums of at most `BLOCK` to the power of the dimensions."""
    size = shape[2:]
    while prod(sides := blocks(size)) > 1:
        nothing = [0] * len(size)
        x = ops.avg_pool(x, list(sides), nothing, nothing, list(sides), False)
        size = tuple(n // side for n, side in zip(size, sides, strict=True))
    return ops.reduce_mean(x, list(range(2, len(shape))), keep_dims=True)
