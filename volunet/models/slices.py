"""Networks for images, or for one slice of a volume, as networks for volumes.

Source of slices that see their neighbours as channels (2.5-D): Roth et al. 2014 (arXiv:1406.2639).
"""

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


class OfNeighbours(nn.Module):
    """Takes (B, C, *S), S some slices deep along an axis, and answers for the middle one.

    Args:
        net: takes (B, C * slices, *S) with one slice, the channels of the first slice first.
        axis: of S, 0 to 2, across the slices.
    """

    def __init__(self, net: nn.Module, axis: int) -> None:
        super().__init__()
        self.net, self.axis = net, axis

    def forward(self, x: Tensor) -> Tensor:
        slices = x.movedim(2 + self.axis, 1).flatten(1, 2)
        logits: Tensor = self.net(slices.unsqueeze(2 + self.axis))
        return logits
