"""Instance normalisation and the leaky ReLU after it, in one step that keeps the memory layout.

torch's own instance normalisation first turns a channels-last tensor into a contiguous one, and all
that follows pays for it: a quarter of a training step on a CPU. Here both passes run in the
layout that the tensor has, and the activation overwrites what it acts on.

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

    def forward(self, x: Tensor) -> Tensor:
        if x[0, 0].numel() < 2:
            raise ShapeError(
                f"One voxel has no variance: feature maps came down to {tuple(x.shape)}. Give the "
                f"network a larger image or fewer stages."
            )
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        ours = x.device.type == "cpu" and not tracing  # converters know torch's own
        if ours and _is_channels_last(x):
            y: Tensor = _ChannelsLast.apply(  # type: ignore[no-untyped-call]
                x, self.weight, self.bias, self.slope, self.eps
            )
            return y
        if ours:
            y = F.group_norm(x.contiguous(), x.shape[1], self.weight, self.bias, self.eps)
        else:
            y = F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return y if self.slope == 1 else F.leaky_relu_(y, self.slope)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, slope={self.slope}"


class _ChannelsLast(torch.autograd.Function):
    """Batch normalisation of one image at a time, for which torch has channels-last kernels."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, slope: float, eps: float
    ) -> Tensor:
        moments = [_moments(image) for image in x]
        weight, bias = weight.to(moments[0][0]), bias.to(moments[0][0])
        y = torch.cat(
            [
                F.batch_norm(image[None], mean, var, weight, bias, eps=eps)
                for image, (mean, var) in zip(x, moments, strict=True)
            ]
        )
        if slope != 1:
            F.leaky_relu_(y, slope)
        means, variances = map(torch.stack, zip(*moments, strict=True))
        ctx.save_for_backward(x, y, weight, means, (variances + eps).rsqrt())
        ctx.slope, ctx.eps = slope, eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, means, scales = ctx.saved_tensors
        if ctx.slope != 1:
            grad = aten.leaky_relu_backward(grad, y, ctx.slope, True)
        grad = grad.contiguous(memory_format=_layout(x))  # the kernel takes that on trust
        statistics = (None, None)
        parts = [
            aten.native_batch_norm_backward(
                g[None], image[None], weight, *statistics, mean, scale, True, ctx.eps, [True] * 3
            )
            for g, image, mean, scale in zip(grad, x, means, scales, strict=True)
        ]
        dx, dweight, dbias = zip(*parts, strict=True)
        return torch.cat(dx), torch.stack(dweight).sum(0), torch.stack(dbias).sum(0), None, None


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
