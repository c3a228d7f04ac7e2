"""The layers U-Nets are made of, in two and three dimensions by one argument.

Tensors are (B, C, *S), where S has `dims` axes. A size (kernel, stride) is one number for all axes
or a tuple with one for each.

What stands around a convolution is said by `LayerSettings`, with the sources. No bias stands before
a normalisation, which would take it away again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from volunet.errors import ShapeError
from volunet.models.instance_norm import InstanceNorm
from volunet.models.layer_settings import USUAL, Initialisation, LayerSettings

Size = int | tuple[int, ...]
Conv = nn.Conv2d | nn.Conv3d
Up = nn.ConvTranspose2d | nn.ConvTranspose3d


def per_axis(size: Size, dims: int) -> tuple[int, ...]:
    """One number for each axis, from one number or from one for each."""
    axes = (size,) * dims if isinstance(size, int) else tuple(size)
    if len(axes) != dims:
        raise ShapeError(f"A size of {dims} dimensions has one or {dims} numbers, got {size}.")
    return axes


def convolution(  # noqa: PLR0913 - a layer is given as keywords
    dims: int,
    c_in: int,
    c_out: int,
    kernel: Size,
    *,
    stride: Size = 1,
    bias: bool = False,
    padded: bool = True,
    groups: int = 1,
) -> Conv:
    """A convolution that keeps S at stride 1 if it is padded: odd kernels, zeros all around.

    Args:
        groups: of channels that see nothing of each other.
    """
    sizes = per_axis(kernel, dims)
    if any(k % 2 == 0 for k in sizes):
        raise ShapeError(f"A kernel has an odd side along every axis, got {sizes}.")
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    return kind(
        c_in,
        c_out,
        sizes,  # type: ignore[arg-type]
        per_axis(stride, dims),  # type: ignore[arg-type]
        tuple(k // 2 if padded else 0 for k in sizes),  # type: ignore[arg-type]
        groups=groups,
        bias=bias,
    )


def upsampling(dims: int, c_in: int, c_out: int, stride: Size, *, bias: bool = True) -> Up:
    """A transposed convolution with kernel = stride, (B, c_in, *S) to (B, c_out, *S * stride)."""
    steps = per_axis(stride, dims)
    if dims == 2:
        return nn.ConvTranspose2d(c_in, c_out, steps, steps, bias=bias)  # type: ignore[arg-type]
    return nn.ConvTranspose3d(c_in, c_out, steps, steps, bias=bias)  # type: ignore[arg-type]


def pooling(dims: int, stride: Size) -> nn.Module:
    """The largest number of every block of `stride` voxels, (B, C, *S) to (B, C, *S / stride)."""
    steps = per_axis(stride, dims)
    return nn.MaxPool2d(steps) if dims == 2 else nn.MaxPool3d(steps)


class ConvNorm(nn.Module):
    """A convolution, a normalisation, and an activation unless `activate` is false."""

    def __init__(
        self,
        dims: int,
        c_in: int,
        c_out: int,
        *,
        kernel: Size = 3,
        stride: Size = 1,
        activate: bool = True,
        layers: LayerSettings = USUAL,
    ) -> None:
        super().__init__()
        bare = layers.normalisation == "none"
        self.conv = convolution(dims, c_in, c_out, kernel, stride=stride, bias=bare)
        self.norm, self.activation = after_convolution(dims, c_out, layers, activate=activate)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out


def after_convolution(
    dims: int, channels: int, layers: LayerSettings, *, activate: bool = True
) -> tuple[nn.Module, nn.Module]:
    """What normalises, and what activates; instance normalisation and a ReLU are one step."""
    slope = layers.rectifier_slope if layers.normalisation == "instance" else None
    if activate and slope is not None:
        return InstanceNorm(channels, slope=slope), dropout(dims, layers.dropout)
    norm = normalisation(dims, channels, layers)
    if not activate:
        return norm, nn.Identity()
    if not layers.dropout:
        return norm, activation(layers)
    return norm, nn.Sequential(activation(layers), dropout(dims, layers.dropout))


def normalisation(dims: int, channels: int, layers: LayerSettings) -> nn.Module:
    """The normalisation that `layers` names, for (B, channels, *S)."""
    match layers.normalisation:
        case "instance":
            return InstanceNorm(channels)
        case "batch":
            return (nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(channels)
        case "group":
            return nn.GroupNorm(groups_of(channels, layers.groups), channels)
        case "layer":
            return ChannelNorm(channels)
        case "none":
            return nn.Identity()


def activation(layers: LayerSettings) -> nn.Module:
    """The activation that `layers` names."""
    if layers.activation == "leaky_relu":
        return nn.LeakyReLU(layers.slope)
    kinds = {"relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish}
    made: nn.Module = kinds[layers.activation]()
    return made


def dropout(dims: int, share: float) -> nn.Module:
    """Whole feature maps set to 0 while training, or nothing where their share is 0."""
    if not share:
        return nn.Identity()
    return nn.Dropout2d(share) if dims == 2 else nn.Dropout3d(share)


def groups_of(channels: int, most: int) -> int:
    """The largest number up to `most` that divides the channels.

    >>> groups_of(48, 32), groups_of(7, 4)
    (24, 1)
    """
    return max(groups for groups in range(1, most + 1) if channels % groups == 0)


class ChannelNorm(nn.Module):
    """The channels of each voxel to mean 0 and variance 1, then scaled and shifted one by one."""

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.channels, self.eps = channels, eps

    def forward(self, x: Tensor) -> Tensor:
        last = x.ndim - 1  # converters want axes counted from the front
        seen = x.permute(0, *range(2, x.ndim), 1)
        y = F.layer_norm(seen, (self.channels,), self.weight, self.bias, self.eps)
        return y.permute(0, last, *range(1, last))


def initialise(
    net: nn.Module, layers: LayerSettings = USUAL, *, head: nn.Module | None = None
) -> None:
    """First weights for every convolution of `net`, with biases 0, as `layers` says.

    Weights on torch's meta device have no numbers to set, and asking for some loads its compiler.

    Args:
        head: the convolution whose weights are drawn as those of a head.
    """
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for layer in net.modules():
        way = layers.head_initialisation if layer is head else layers.initialisation
        if isinstance(layer, kinds) and not layer.weight.is_meta and way != "torch":
            _draw(layer.weight, way, layers.rectifier_slope or 0.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _draw(weight: Tensor, way: Initialisation, slope: float) -> None:
    if way == "he":
        nn.init.kaiming_normal_(weight, a=slope)  # slope 0, ReLU's, also for its smooth kin
    elif way == "xavier":
        nn.init.xavier_uniform_(weight)
    else:
        nn.init.orthogonal_(weight)
