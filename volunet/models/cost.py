"""What a network costs before it runs: weights, arithmetic, and what training keeps in memory."""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from volunet.models.unet import UShape


@dataclass(frozen=True)
class Cost:
    """The cost of one image.

    Args:
        parameters: weights of the network.
        multiply_adds: of convolutions, linear layers and attention, in one forward pass; a
            training step takes three times as many, and one is two floating-point operations.
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


def count(
    net: nn.Module, patch: tuple[int, ...], *, in_channels: int = 1, recompute: bool = False
) -> Cost:
    """Counts on a copy of `net` that holds no numbers, so it is quick and takes no memory.

    Args:
        patch: size of the image, S.
        recompute: what a forward pass keeps is counted as with `UShape.recompute`: what goes into
            each stage, and all that one stage keeps while it is computed again.

    Raises:
        ShapeError: the network does not take such a patch.
    """
    ghost, kept = deepcopy(net).to("meta").eval(), _Kept()
    for layer in ghost.modules():
        if isinstance(layer, UShape):
            layer.recompute = False
            for stage in layer.stages if recompute else ():
                stage.register_forward_pre_hook(kept.enter)
                stage.register_forward_hook(kept.leave)
    keeping = torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor)
    with FlopCounterMode(display=False) as done, keeping:
        ghost(torch.empty(1, in_channels, *patch, device="meta"))
    return Cost(sum(p.numel() for p in net.parameters()), done.get_total_flops() // 2, kept.by_size)


class _Kept:
    """Feature maps that are kept: those of all times, and those of each stage, by their storage."""

    def __init__(self) -> None:
        self._always: dict[int, Tensor] = {}
        self._stages: list[dict[int, Tensor]] = []
        self._now = self._always

    def enter(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for seen in inputs:
            self.keep(seen)
        self._now = {}
        self._stages.append(self._now)

    def leave(self, *_: object) -> None:
        self._now = self._always

    def keep(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and tensor.ndim > 2:
            storage = tensor.untyped_storage()._cdata
            if storage not in self._always:
                self._now[storage] = tensor
        return tensor

    @property
    def by_size(self) -> dict[tuple[int, ...], int]:
        """Numbers by the size of their maps, S, with the stage that keeps most."""

        def numbers(stage: dict[int, Tensor]) -> int:
            return sum(tensor.numel() for tensor in stage.values())

        most = max(self._stages, key=numbers, default={})
        found: dict[tuple[int, ...], int] = defaultdict(int)
        for tensor in (self._always | most).values():
            found[tuple(tensor.shape[2:])] += tensor.numel()
        return dict(found)
