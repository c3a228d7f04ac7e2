"""One training step as an ignite engine; what happens between steps is done by handlers.

The engine's data are `Batch`es. Its output is a `Step`, left on the device: reading it stalls a
GPU, so handlers read it now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.optim import Optimizer

from volunet.data.sampler import Batch
from volunet.training.average import Average

Loss = Callable[[Tensor | tuple[Tensor, ...], Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """What one step leaves behind.

    Args:
        loss: a scalar on the device.
        grad_norm: before clipping, a scalar on the device.
        case_ids: the cases in the batch.
    """

    loss: Tensor
    grad_norm: Tensor
    case_ids: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """What a step works with.

    Args:
        network: the bare network, which is what a run gives away.
        module: what is trained: the network, or its wrapper for deep supervision.
        average: of the bare network's weights.
        dtype: of the feature maps under autocast; float32 for none.
    """

    network: nn.Module
    module: nn.Module
    loss: Loss
    optimizer: Optimizer
    average: Average
    device: torch.device
    dtype: torch.dtype
    clip_norm: float


def build_trainer(parts: Parts) -> Engine:
    """An engine that takes one optimiser step a batch."""
    weights = list(parts.module.parameters())
    half = parts.dtype != torch.float32
    on_cpu = parts.device.type == "cpu"
    layout = torch.channels_last_3d if on_cpu else torch.contiguous_format

    def step(_: Engine, batch: Batch) -> Step:
        parts.module.train()
        with torch.autocast(parts.device.type, dtype=parts.dtype, enabled=half):
            outputs = parts.module(batch.image.contiguous(memory_format=layout))
        loss = parts.loss(outputs, batch.label)
        parts.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(weights, parts.clip_norm)
        parts.optimizer.step()
        return Step(loss.detach(), norm.detach(), batch.case_ids)

    return Engine(step)
