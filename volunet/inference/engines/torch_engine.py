"""Networks run by torch, on whatever device it knows.

`torch.compile` is left out: it takes longer to compile a U-Net for a CPU than most folders take to
segment (50 s), and its windows are slower than channels-last bfloat16.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from volunet.inference.engines.engine import Engine as Engine
from volunet.inference.engines.engine import Precision

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

FLAG = threading.RLock()
"""Held while a flag of the whole process is other than the host set it."""


def to_channels_last(module: nn.Module) -> None:
    """Lays the weights of 2-D and 3-D convolutions out channels-last; values and names stay."""
    for parameter in module.parameters():
        if parameter.ndim in (4, 5):
            layout = torch.channels_last if parameter.ndim == 4 else torch.channels_last_3d
            laid = torch.empty_like(parameter.data, memory_format=layout)
            parameter.data = laid.copy_(parameter.data)


def laid_channels_last(images: Tensor) -> Tensor:
    """The same values (B, C, *S) laid out channels-last.

    Of one channel the layout is a matter of strides alone, by which convolutions of one voxel
    choose that of their answer; `contiguous` leaves these as they are.
    """
    layout = torch.channels_last if images.ndim == 4 else torch.channels_last_3d
    return torch.empty_like(images, memory_format=layout).copy_(images)


def name_of(dtype: torch.dtype) -> Precision:
    """What a precision is called on the command line."""
    return next(name for name, known in DTYPES.items() if known == dtype)


class TorchEngine:
    """A network that answers windows, without gradients and in evaluation mode.

    Args:
        network: (B, C, *patch) to (B, classes, *patch). It is moved to `device` and put in
            evaluation mode, not copied; on a CPU and for types of two bytes its weights are laid
            out channels-last, which convolutions of feature maps run fastest in.
        dtype: type of the arithmetic: float32, or bfloat16 or float16 under autocast.
        learning: the network is being trained, and its weights stay as they lie.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        learning: bool = False,
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.network = network.to(self.device).eval()
        self._is_laid = not learning and (self.device.type == "cpu" or dtype != torch.float32)
        if self._is_laid:
            to_channels_last(self.network)

    def __str__(self) -> str:
        return f"torch {name_of(self.dtype)}"

    @torch.inference_mode()
    def __call__(self, windows: Tensor, /) -> Tensor:
        """Logits (B, classes, *patch), float32 on the engine's device."""
        batch = windows.to(self.device, torch.float32, non_blocking=True)
        if self._is_laid and batch.ndim in (4, 5):
            batch = laid_channels_last(batch)
        with self._arithmetic():
            logits: Tensor = self.network(batch)
        return logits.float()

    def _arithmetic(self) -> AbstractContextManager[object]:
        """Computes in the engine's type, be it float32, for which cuDNN takes TF32 if it may."""
        if self.dtype != torch.float32:
            return torch.autocast(self.device.type, self.dtype)
        return _without_tf32() if self.device.type == "cuda" else nullcontext()


@contextmanager
def _without_tf32() -> Iterator[None]:
    """One thread at a time, as the flag is the process's: each puts back what it found."""
    cudnn = torch.backends.cudnn
    with (
        FLAG,
        cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=cudnn.benchmark,
            deterministic=cudnn.deterministic,
            allow_tf32=False,
        ),
    ):
        yield
