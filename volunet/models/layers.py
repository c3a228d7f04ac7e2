"""The layers U-Nets are made of, in two and three dimensions by one argument.

Tensors are (B, C, *S), where S has `dims` axes. A size (kernel, stride) is one number for all axes
or a tuple with one for each.

Sources: instance normalisation, Ulyanov et al. 2016 (arXiv:1607.08022); initial weights, He et al.
2015 (1502.01852); that no bias stands before a normalisation, which would take it away again.
"""

from __future__ import annotations

from torch import Tensor, nn

from volunet.errors import ShapeError
from volunet.models.instance_norm import InstanceNorm

SLOPE = 0.01  # of every leaky ReLU, as in nnU-Net

Size = int | tuple[int, ...]
Conv = nn.Conv2d | nn.Conv3d
Up = nn.ConvTranspose2d | nn.ConvTranspose3d


def per_axis(size: Size, dims: int) -> tuple[int, ...]:
    """One number for each axis, from one number or from one for each."""
    axes = (size,) * dims if isinstance(size, int) else tuple(size)
    if len(axes) != dims:
        raise ShapeError(f"A size of {dims} dimensions has one or {dims} numbers, got {size}.")
    return axes


def convolution(
    dims: int, c_in: int, c_out: int, kernel: Size, *, stride: Size = 1, bias: bool = False
) -> Conv:
    """A convolution that keeps S at stride 1: odd kernels, zeros around the image."""
    sizes = per_axis(kernel, dims)
    if any(k % 2 == 0 for k in sizes):
        raise ShapeError(f"A kernel has an odd side along every axis, got {sizes}.")
    padding, steps = tuple(k // 2 for k in sizes), per_axis(stride, dims)
    if dims == 2:
        return nn.Conv2d(c_in, c_out, sizes, steps, padding, bias=bias)  # type: ignore[arg-type]
    return nn.Conv3d(c_in, c_out, sizes, steps, padding, bias=bias)  # type: ignore[arg-type]


def upsampling(dims: int, c_in: int, c_out: int, stride: Size) -> Up:
    """A transposed convolution with kernel = stride, (B, c_in, *S) to (B, c_out, *S * stride)."""
    steps = per_axis(stride, dims)
    if dims == 2:
        return nn.ConvTranspose2d(c_in, c_out, steps, steps)  # type: ignore[arg-type]
    return nn.ConvTranspose3d(c_in, c_out, steps, steps)  # type: ignore[arg-type]


class ConvNorm(nn.Module):
    """A convolution, instance normalisation, and a leaky ReLU unless `slope` is 1."""

    def __init__(
        self,
        dims: int,
        c_in: int,
        c_out: int,
        *,
        kernel: Size = 3,
        stride: Size = 1,
        slope: float = SLOPE,
    ) -> None:
        super().__init__()
        self.conv = convolution(dims, c_in, c_out, kernel, stride=stride)
        self.norm = InstanceNorm(c_out, slope=slope)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out


def initialise(net: nn.Module) -> None:
    """He's normal weights for the leaky ReLU in every convolution of `net`, biases 0.

    Weights on torch's meta device have no numbers to set, and asking for some loads its compiler.
    """
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for layer in net.modules():
        if isinstance(layer, kinds) and not layer.weight.is_meta:
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
