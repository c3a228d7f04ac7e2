"""Convolutions of thin feature maps in float32, where bfloat16 would teach them nonsense.

oneDNN, by which torch computes on a CPU, leaves part of the gradient of a convolution's weights
unwritten in bfloat16, or writes beside it, where maps are thin: seen with torch 2.13 on AVX512-BF16
for 3 x 3 x 3 kernels over maps of two rows, whatever the other axes, and for strides along an axis
of one voxel. What was in the memory is learnt then, or the process ends. Such maps are the deepest
ones of a network, so float32 costs next to nothing there.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def keep_thin_maps_exact(network: nn.Module) -> None:
    """Has the network's convolutions learn in float32 from thin maps, under autocast on a CPU."""
    for layer in network.modules():
        if isinstance(layer, CONVOLUTIONS):
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]


def _forward(layer: Any, x: Tensor, *more: Any) -> Tensor:
    plain = type(layer).forward
    learns = torch.is_grad_enabled() and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not learns or not _is_thin(layer, x):
        out: Tensor = plain(layer, x, *more)
        return out
    half = torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", enabled=False):
        exact: Tensor = plain(layer, x.float(), *more)
    return exact.to(half)


def _is_thin(layer: Any, x: Tensor) -> bool:
    """Whether a map is no longer than the kernel along an axis, with one voxel more to be safe."""
    axes = zip(x.shape[2:], layer.kernel_size, layer.stride, strict=True)
    return any((kernel > 1 and n <= kernel) or (step > 1 and n == 1) for n, kernel, step in axes)
