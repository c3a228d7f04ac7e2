"""Instance normalisation, a shortcut and the leaky ReLU, in one step that keeps the memory layout.

torch's own instance normalisation first turns a channels-last tensor into a contiguous one, and all
that follows pays for it: a quarter of a training step on a CPU. Here both passes run in the
layout that the tensor has, and the activation overwrites what it acts on. In a residual block the
shortcut is added in between, image by image, while both are in the cache.

Tensors are (B, C, *S). Source: Ulyanov et al. 2016 (arXiv:1607.08022).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from volunet.errors import ShapeError

aten = torch.ops.aten


class InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1 over S, then scaled and shifted.

    Args:
        slope: of the leaky ReLU that follows; 1 for none.

    Raises:
        ShapeError: S is a single voxel.
    """

    def __init__(self, channels: int, *, slope: float = 1.0, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.slope, self.eps = slope, eps

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """The answer, of the shape of `x`; a shortcut of this shape is added before the ReLU."""
        if x[0, 0].numel() < 2:
            raise ShapeError(
                f"One voxel has no variance: feature maps came down to {tuple(x.shape)}. Give the "
                f"network a larger image or fewer stages."
            )
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        ours = x.device.type == "cpu" and not tracing  # converters know torch's own
        if ours and _is_channels_last(x):
            y: Tensor = _ChannelsLast.apply(  # type: ignore[no-untyped-call]
                x, self.weight, self.bias, self.slope, self.eps, shortcut
            )
            return y
        if ours:
            y = F.group_norm(x.contiguous(), x.shape[1], self.weight, self.bias, self.eps)
        else:
            y = F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        if shortcut is not None:
            y = y + shortcut
        return y if self.slope == 1 else F.leaky_relu_(y, self.slope)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, slope={self.slope}"


class _ChannelsLast(torch.autograd.Function):
    """Batch normalisation of one image at a time, for which torch has channels-last kernels.

    What is made of an image is used while it is still in the cache. Group normalisation would do
    all images at once, but loses digits where a mean is large beside its deviation.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        slope: float,
        eps: float,
        shortcut: Tensor | None,
    ) -> Tensor:
        kind = torch.promote_types(x.dtype, torch.float32)
        weight, bias, y = weight.to(kind), bias.to(kind), torch.empty_like(x)
        moments = [_moments(image) for image in x]
        added = [None] * len(x) if shortcut is None else shortcut
        for image, (mean, variance), more, place in zip(x, moments, added, y, strict=True):
            found = F.batch_norm(image[None], mean, variance, weight, bias, eps=eps)[0]
            if more is not None:
                found.add_(more)
            if slope == 1:
                place.copy_(found)
            else:
                aten.leaky_relu.out(found, slope, out=place)
        means, variances = map(torch.stack, zip(*moments, strict=True))
        seen = None if slope == 1 else y  # the ReLU's answer tells which side of 0 it was on
        ctx.save_for_backward(x, seen, weight, means, (variances + eps).rsqrt())
        ctx.slope, ctx.eps, ctx.shortcut = slope, eps, shortcut is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, *moments = ctx.saved_tensors
        dx, dweights, dbiases = torch.empty_like(x), list[Tensor](), list[Tensor]()
        passed = torch.empty_like(x) if ctx.shortcut and y is not None else None
        for n, (image, g, mean, scale, place) in enumerate(zip(x, grad, *moments, dx, strict=True)):
            if passed is not None:
                g = aten.leaky_relu_backward.grad_input(
                    g, y[n], ctx.slope, True, grad_input=passed[n]
                )
            elif y is not None:
                g = aten.leaky_relu_backward(g, y[n], ctx.slope, True)
            g = g[None].contiguous(memory_format=_layout(x))  # the kernel takes that on trust
            found, dweight, dbias = aten.native_batch_norm_backward(
                g, image[None], weight, None, None, mean, scale, True, ctx.eps, [True] * 3
            )
            place.copy_(found[0])
            dweights.append(dweight)
            dbiases.append(dbias)
        onwards = grad if ctx.shortcut and passed is None else passed
        return dx, torch.stack(dweights).sum(0), torch.stack(dbiases).sum(0), None, None, onwards


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d


def _is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=_layout(x))


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of a channels-last image (C, *S), float32 or float64.

    The voxels of the last axis are taken for channels of their own, and their moments merged: one
    sum over a large image would lose digits, and short rows of channels are slow to read.
    """
    channels, last = image.shape[0], image.shape[-1]
    rows = image.movedim(0, -1).reshape(1, -1, 1, last * channels).permute(0, 3, 1, 2)
    kind = torch.promote_types(image.dtype, torch.float32)
    running = torch.zeros((2, last * channels), dtype=kind)  # unread, but it sets the answer's type
    means, variances = aten.batch_norm_update_stats(rows, *running, 0.0)
    mean = means.view(last, channels).mean(0)
    spread = (means.view(last, channels) - mean).square()
    return mean, (variances.view(last, channels) + spread).mean(0)
