"""Convolutions of small feature maps in float32, where bfloat16 would teach them nonsense.

oneDNN, by which torch computes on a CPU, leaves the gradient of a convolution's weights unwritten
or writes beside it, where maps are a few voxels thin and everything else is in bfloat16: seen with
torch 2.13 on processors with AVX512-BF16, from 3 x 3 x 3 kernels over maps of two rows on. What was
in the memory is learnt then, or the process ends. Such maps are the deepest ones of a network, so
float32 costs next to nothing there.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

THIN = 8
"""Voxels along an axis up to which a map counts as small; trouble was seen up to 6."""
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def keep_small_maps_exact(network: nn.Module) -> None:
    """Has the network's convolutions learn in float32 from small maps, under autocast on a CPU."""
    for layer in network.modules():
        if isinstance(layer, CONVOLUTIONS):
            layer.forward = MethodType(_forward, layer)


def _forward(layer: Any, x: Tensor, *more: Any) -> Tensor:
    plain = type(layer).forward
    learns = torch.is_grad_enabled() and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not learns or min(x.shape[2:]) > THIN:
        out: Tensor = plain(layer, x, *more)
        return out
    half = torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", enabled=False):
        exact: Tensor = plain(layer, x.float(), *more)
    return exact.to(half)
