"""What one stage of a U-Net does to its input: plain or residual convolutions, and gates.

Tensors are (B, C, *S). Sources: residual blocks, He et al. 2016 (arXiv:1512.03385); a shortcut
that averages rather than skips voxels, He et al. 2019 (1812.01187), as in nnU-Net's residual
encoders (2404.09556); attention gates, Oktay et al. 2018 (1804.03999).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from volunet.models.instance_norm import InstanceNorm
from volunet.models.layer_settings import USUAL, LayerSettings
from volunet.models.layers import ConvNorm, Size, activation, convolution, per_axis

MakeBlock = Callable[..., nn.Module]


class PlainBlock(nn.Sequential):
    """Two convolutions, (B, c_in, *S) to (B, c_out, *S / stride)."""

    def __init__(
        self,
        dims: int,
        c_in: int,
        c_out: int,
        *,
        kernel: Size = 3,
        stride: Size = 1,
        layers: LayerSettings = USUAL,
    ) -> None:
        super().__init__(
            ConvNorm(dims, c_in, c_out, kernel=kernel, stride=stride, layers=layers),
            ConvNorm(dims, c_out, c_out, kernel=kernel, layers=layers),
        )


class ResidualBlock(nn.Module):
    """Two convolutions whose input is added to their output before the last activation."""

    def __init__(
        self,
        dims: int,
        c_in: int,
        c_out: int,
        *,
        kernel: Size = 3,
        stride: Size = 1,
        layers: LayerSettings = USUAL,
    ) -> None:
        super().__init__()
        self.first = ConvNorm(dims, c_in, c_out, kernel=kernel, stride=stride, layers=layers)
        self.second = ConvNorm(dims, c_out, c_out, kernel=kernel, activate=False, layers=layers)
        self.shortcut = Shortcut(dims, c_in, c_out, stride=stride, layers=layers)
        self.activation = activation(layers)
        norm, slope = self.second.norm, layers.rectifier_slope
        self.in_one_step = False
        if isinstance(norm, InstanceNorm) and slope is not None:
            norm.slope, self.activation, self.in_one_step = slope, nn.Identity(), True

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor
        if self.in_one_step:
            out = self.second.conv(self.first(x))  # what is between them is free again by now
            out = self.second.norm(out, self.shortcut(x))
        else:
            out = self.activation(self.second(self.first(x)) + self.shortcut(x))
        return out


class Shortcut(nn.Sequential):
    """The input in the shape of a block's output: itself, where nothing changes."""

    def __init__(
        self, dims: int, c_in: int, c_out: int, *, stride: Size, layers: LayerSettings = USUAL
    ) -> None:
        steps, parts = per_axis(stride, dims), list[nn.Module]()
        if max(steps) > 1:
            mean = nn.AvgPool2d if dims == 2 else nn.AvgPool3d
            parts.append(mean(steps))  # type: ignore[arg-type]
        if c_in != c_out:
            parts.append(ConvNorm(dims, c_in, c_out, kernel=1, activate=False, layers=layers))
        super().__init__(*parts)


class AttentionGate(nn.Module):
    """Dims a skip connection where the decoder sees nothing of interest (Oktay et al., eq. 1).

    Args:
        channels: of the skip connection.
        decoded: channels of what the decoder brings, if they are others.
    """

    def __init__(
        self, dims: int, channels: int, *, decoded: int | None = None, layers: LayerSettings = USUAL
    ) -> None:
        super().__init__()
        inner, brought = max(channels // 2, 1), channels if decoded is None else decoded
        self.query = ConvNorm(dims, brought, inner, kernel=1, activate=False, layers=layers)
        self.key = ConvNorm(dims, channels, inner, kernel=1, activate=False, layers=layers)
        self.score = convolution(dims, inner, 1, 1, bias=True)

    def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
        """`skip` (B, C, *S), each voxel times a weight in (0, 1) that `decoded` has a say in."""
        weight: Tensor = self.score(F.relu(self.query(decoded) + self.key(skip))).sigmoid()
        return skip * weight
