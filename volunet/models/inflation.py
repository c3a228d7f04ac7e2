"""Weights of one network in the shapes of another: to other axes, from two to three, to channels.

Weights of convolutions are (O, I, *kernel). Sources: inflation by repeating, Carreira and
Zisserman 2017 (I3D, arXiv:1705.07750), here "average"; by a kernel whose planes are zero but the
middle one, Girdhar et al. 2018 (1712.09184), here "centre".
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Inflation = Literal["centre", "average"]
LearntOn = Literal["pictures", "arrays"]
"""Pictures have rows downwards and columns to the right; arrays a network's own axes."""


def turn_kernel(weight: Tensor) -> Tensor:
    """A kernel for the axes of scans (R, A, S), from one for pictures as they are displayed.

    On the page left is right: columns run against R, or against A where R is not seen, and rows
    run against the other axis. volunet reads plain pictures in the same axes.

    Args:
        weight: (O, I, rows, columns).

    Returns:
        (O, I, R or A, A or S).
    """
    return weight.mT.flip((-2, -1))


def inflate_kernel(weight: Tensor, depth: int, *, how: Inflation, axis: int) -> Tensor:
    """A kernel of two axes as one of three.

    With "centre" a volume whose slices are all alike gives the features of one of them, everywhere.
    With "average" it does so only where no padding along the new axis is in sight.

    Args:
        weight: (O, I, *kernel), a kernel of two axes.
        depth: of the new kernel.
        how: the kernel in the middle plane of zeros, or in all planes, divided by their number.
        axis: the new one among the kernel's three.
    """
    if how == "average":
        return torch.stack([weight / depth] * depth, dim=2 + axis)
    planes = [torch.zeros_like(weight) for _ in range(depth)]
    planes[depth // 2] = weight
    return torch.stack(planes, dim=2 + axis)


def adapt_kernel(weight: Tensor, channels: int) -> Tensor:
    """The first convolution for another number of channels.

    To one channel the kernels are added up, so that a grey image gives what its copy in all
    channels gave. To several they are repeated in turn and scaled by the ratio of the numbers, so
    that what the convolution gives keeps its size.

    Args:
        weight: (O, I, *kernel).
        channels: the I wanted.
    """
    given = weight.shape[1]
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, torch.arange(channels) % given] * (given / channels)
