"""A network for images as one for volumes of a single slice."""

from __future__ import annotations

from torch import Tensor, nn


class OfSlices(nn.Module):
    """Takes (B, C, *S) where S is one voxel deep along an axis, and answers in the same shape.

    Args:
        net: a network for images of two axes.
        axis: of S, 0 to 2, across the slice.
    """

    def __init__(self, net: nn.Module, axis: int) -> None:
        super().__init__()
        self.net, self.axis = net, axis

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.squeeze(2 + self.axis))
        return logits.unsqueeze(2 + self.axis)
