"""What inference asks of whatever runs a network, and networks run by torch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Engine(Protocol):
    """Windows (B, C, *patch) to logits (B, classes, *patch), both float32.

    The windows lie in the computer's memory; the logits may stay on the engine's device.
    """

    def __call__(self, windows: Tensor, /) -> Tensor: ...


def to_channels_last(module: nn.Module) -> None:
    """Lays the weights of 2-D and 3-D convolutions out channels-last; values and names stay."""
    for parameter in module.parameters():
        if parameter.ndim in (4, 5):
            layout = torch.channels_last if parameter.ndim == 4 else torch.channels_last_3d
            parameter.data = parameter.data.contiguous(memory_format=layout)


class TorchEngine:
    """A network that answers windows, without gradients and in evaluation mode.

    Args:
        network: (B, C, *patch) to (B, classes, *patch). It is moved to `device` and put in
            evaluation mode, not copied.
        dtype: type of the arithmetic: float32, or bfloat16 or float16 under autocast.
    """

    def __init__(
        self, network: nn.Module, *, device: torch.device | str, dtype: torch.dtype = torch.float32
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.network = network.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, windows: Tensor, /) -> Tensor:
        """Logits (B, classes, *patch), float32 on the engine's device."""
        batch = windows.to(self.device, torch.float32, non_blocking=True)
        half = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=half):
            logits: Tensor = self.network(batch)
        return logits.float()
