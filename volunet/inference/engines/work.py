"""How much arithmetic a window costs, without looking at one."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from volunet.inference.engines.engine import Network

TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def multiply_adds(network: Network) -> float:
    """Multiply-adds of the convolutions for one window, from a run at the least size.

    The network is put in evaluation mode: a count must not move the statistics of its norms.
    """
    device = next((p.device for p in network.module.parameters()), torch.device("cpu"))
    done = [0]

    def add(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        met = inputs[0] if isinstance(layer, TRANSPOSED) else output
        done.append(layer.weight.numel() * prod(met.shape[2:]))

    convolutions = [m for m in network.module.modules() if isinstance(m, CONVOLUTIONS)]
    hooks = [layer.register_forward_hook(add) for layer in convolutions]
    try:
        network.module.eval()
        with torch.inference_mode():
            network.module(torch.zeros(network.example_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(done) * prod(network.patch) / prod(network.example_shape[2:])
