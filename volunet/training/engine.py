"""One training step as an ignite engine; what happens between steps is done by handlers.

The engine's data are `Batch`es. Its output is a `Step`, left on the device: reading it stalls a
GPU, so handlers read it now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from volunet.data.sampler import Batch
from volunet.inference.engines.torch_engine import laid_channels_last
from volunet.training.average import Average
from volunet.training.pieces import Pieces
from volunet.training.processes import ALONE, Processes


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


class Minimised(Protocol):
    """A loss."""

    def __call__(
        self, outputs: Sequence[Tensor], label: Tensor, /, *, drawn: Tensor | None = None
    ) -> Tensor:
        """A scalar."""


@dataclass(frozen=True)
class Parts:
    """What a step works with.

    Args:
        network: the bare network, which is what a run gives away.
        module: what is trained: the network, or its wrapper for deep supervision or correction.
        loss: of answers at one scale or several, finest first.
        average: of the bare network's weights.
        dtype: of the feature maps under autocast; float32 for none.
    """

    network: nn.Module
    module: nn.Module
    loss: Minimised
    optimizer: Optimizer
    average: Average
    device: torch.device
    dtype: torch.dtype
    clip_norm: float


def build_trainer(
    parts: Parts,
    *,
    tell: Callable[[str, int], None],
    pieces: int = 1,
    processes: Processes = ALONE,
) -> Engine:
    """An engine that takes one optimiser step a batch.

    Args:
        tell: is told when a batch had to be cut to fit the memory, and into how many pieces.
        pieces: that batches are cut into from the start.
        processes: that average their gradients; this one alone unless given.
    """
    module = _averaging(parts) if processes.several else parts.module
    weights = [w for w in parts.module.parameters() if w.requires_grad]
    half = parts.dtype != torch.float32
    on_cpu = parts.device.type == "cpu"

    def gradients(piece: Batch, share: float) -> Tensor:
        with torch.autocast(parts.device.type, dtype=parts.dtype, enabled=half):
            outputs = module(
                laid_channels_last(piece.image) if on_cpu else piece.image.contiguous()
            )
        scales = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = share * parts.loss(scales, piece.label, drawn=piece.drawn)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    cut = Pieces(
        gradients,
        clear=parts.optimizer.zero_grad,
        may_cut=not processes.several,
        count=pieces,
        tell=tell,
    )

    def step(_: Engine, batch: Batch) -> Step:
        _set_training(module)
        loss = cut(batch)
        norm = nn.utils.clip_grad_norm_(weights, parts.clip_norm)
        parts.optimizer.step()
        return Step(loss, norm.detach(), batch.case_ids)

    return Engine(step)


def _set_training(module: nn.Module) -> None:
    """Training mode, but for normalisations that are frozen: their statistics would go on."""
    module.train()
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            weights = list(part.parameters())
            part.train(not weights or any(weight.requires_grad for weight in weights))


def _averaging(parts: Parts) -> DistributedDataParallel:
    """The module, whose gradients are the means of those of all processes."""
    gpus = [parts.device] if parts.device.type == "cuda" else None
    return DistributedDataParallel(parts.module, device_ids=gpus)
