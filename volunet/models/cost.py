"""What a network costs before it runs: weights, arithmetic, and what training keeps in memory."""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Cost:
    """The cost of one image.

    Args:
        parameters: weights of the network.
        multiply_adds: of the convolutions, in one forward pass; a training step takes three times
            as many, and one is two floating-point operations.
        kept: numbers that a forward pass keeps for the backward pass, by the size of the feature
            maps they belong to. Two bytes each under bfloat16 autocast, else four.
    """

    parameters: int
    multiply_adds: int
    kept: dict[tuple[int, ...], int]

    @property
    def kept_total(self) -> int:
        """Numbers kept for the backward pass at all sizes together."""
        return sum(self.kept.values())


def count(net: nn.Module, patch: tuple[int, ...], *, in_channels: int = 1) -> Cost:
    """Counts on a copy of `net` that holds no numbers, so it is quick and takes no memory.

    Args:
        patch: size of the image, S.

    Raises:
        ShapeError: the network does not take such a patch.
    """
    ghost = deepcopy(net).to("meta")
    done, kept = list[int](), dict[int, Tensor]()
    for layer in ghost.modules():
        if isinstance(layer, CONVOLUTIONS):
            layer.register_forward_hook(lambda *seen: done.append(_multiply_adds(*seen)))

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and tensor.ndim == len(patch) + 2:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ghost(torch.empty(1, in_channels, *patch, device="meta"))
    by_size: dict[tuple[int, ...], int] = defaultdict(int)
    for tensor in kept.values():
        by_size[tuple(tensor.shape[2:])] += tensor.numel()
    return Cost(sum(p.numel() for p in net.parameters()), sum(done), dict(by_size))


def _multiply_adds(layer: Any, inputs: tuple[Tensor], output: Tensor) -> int:
    """Every weight meets every voxel: of the output, or of the input where it is spread out."""
    transposed = isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d))
    voxels = prod((inputs[0] if transposed else output).shape[2:])
    return int(layer.weight.numel()) * voxels
