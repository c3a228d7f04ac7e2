"""Small networks whose answers are sharp enough to compare masks of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from volunet.inference.engines.engine import Network
from volunet.models.unet import UNet

PATCH = (16, 24, 16)


def network(channels: int = 1, patch: tuple[int, ...] = PATCH, **shape) -> Network:
    """An untrained U-Net of three classes and a size that differs along the axes."""
    torch.manual_seed(0)
    shape = {"features": (4, 8, 8), "strides": (2, 2)} | shape
    return Network(UNet(len(patch), channels, 3, **shape).eval(), channels, patch, "some model")


class Blobs(nn.Module):
    """Class 1 where the smoothed image is bright, and 2 where it is very bright."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.smooth = nn.Conv3d(1, 4, 3, padding=1)
        self.norm = nn.InstanceNorm3d(4)
        self.head = nn.Conv3d(4, 3, 1)
        nn.init.constant_(self.smooth.weight, 1 / 27)
        nn.init.constant_(self.smooth.bias, offset)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([0.0, 5.0, 10.0])[:, None, None, None, None] / 4)
            self.head.bias.copy_(torch.tensor([0.0, -4.0, -14.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.smooth(x)))


def blobs(offset: float = 0.0, patch: tuple[int, ...] = PATCH) -> Network:
    """With an offset of 1e4 half precision loses the image: its steps hide the signal."""
    return Network(Blobs(offset).eval(), 1, patch, f"blobs {offset}")
