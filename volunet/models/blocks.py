"""What one stage of a U-Net does to its input: plain or residual convolutions, and gates.

Tensors are (B, C, *S). Sources: residual blocks, He et al. 2016 (arXiv:1512.03385); a shortcut
that averages rather than skips voxels, He et al. 2019 (1812.01187), as in nnU-Net's residual
encoders (2404.09556); attention gates, Oktay et al. 2018 (1804.03999).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from volunet.models.layers import SLOPE, ConvNorm, Size, convolution, per_axis

MakeBlock = Callable[..., nn.Module]


class PlainBlock(nn.Sequential):
    """Two convolutions, (B, c_in, *S) to (B, c_out, *S / stride)."""

    def __init__(
        self, dims: int, c_in: int, c_out: int, *, kernel: Size = 3, stride: Size = 1
    ) -> None:
        super().__init__(
            ConvNorm(dims, c_in, c_out, kernel=kernel, stride=stride),
            ConvNorm(dims, c_out, c_out, kernel=kernel),
        )


class ResidualBlock(nn.Module):
    """Two convolutions whose input is added to their output before the last activation."""

    def __init__(
        self, dims: int, c_in: int, c_out: int, *, kernel: Size = 3, stride: Size = 1
    ) -> None:
        super().__init__()
        self.first = ConvNorm(dims, c_in, c_out, kernel=kernel, stride=stride)
        self.second = ConvNorm(dims, c_out, c_out, kernel=kernel, slope=1)
        self.shortcut = Shortcut(dims, c_in, c_out, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.second(self.first(x)) + self.shortcut(x), SLOPE)


class Shortcut(nn.Sequential):
    """The input in the shape of a block's output: itself, where nothing changes."""

    def __init__(self, dims: int, c_in: int, c_out: int, *, stride: Size) -> None:
        steps, layers = per_axis(stride, dims), list[nn.Module]()
        if max(steps) > 1:
            mean = nn.AvgPool2d if dims == 2 else nn.AvgPool3d
            layers.append(mean(steps))  # type: ignore[arg-type]
        if c_in != c_out:
            layers.append(ConvNorm(dims, c_in, c_out, kernel=1, slope=1))
        super().__init__(*layers)


class AttentionGate(nn.Module):
    """Dims a skip connection where the decoder sees nothing of interest (Oktay et al., eq. 1)."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.query = ConvNorm(dims, channels, inner, kernel=1, slope=1)
        self.key = ConvNorm(dims, channels, inner, kernel=1, slope=1)
        self.score = convolution(dims, inner, 1, 1, bias=True)

    def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
        """`skip` (B, C, *S), each voxel times a weight in (0, 1) that `decoded` has a say in."""
        weight: Tensor = self.score(F.relu(self.query(decoded) + self.key(skip))).sigmoid()
        return skip * weight
