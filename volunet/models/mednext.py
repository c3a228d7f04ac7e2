"""MedNeXt: a U-Net of ConvNeXt blocks, whose kernels are large because they see one channel each.

Tensors are (B, C, *S). A block looks around in each channel alone, normalises it, and mixes the
channels voxel by voxel through a wider layer; blocks that halve or double S do so with the kernel
that looks around. Skip connections are added, gated or not. Weights are drawn as torch draws them.

Source: Roy et al. 2023 (arXiv:2303.09975); blocks, Liu et al. 2022 (ConvNeXt, arXiv:2201.03545);
gates, which the paper has not, as in `blocks.AttentionGate`.
The paper's group normalisation has one group a channel, which is instance normalisation.
"""

from __future__ import annotations

from itertools import pairwise, zip_longest

from torch import Tensor, nn
from torch.nn import functional as F

from volunet.models.blocks import AttentionGate
from volunet.models.instance_norm import InstanceNorm
from volunet.models.layer_settings import LayerSettings
from volunet.models.layers import Conv, Size, Up, convolution, per_axis
from volunet.models.unet import UShape, check_stages, factors_of

AS_TORCH = LayerSettings(initialisation="torch", head_initialisation="torch")


MEDNEXT_SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "S": {"expansions": (2, 2, 2, 2, 2), "depths": (2, 2, 2, 2, 2)},
    "B": {"expansions": (2, 3, 4, 4, 4), "depths": (2, 2, 2, 2, 2)},
    "M": {"expansions": (2, 3, 4, 4, 4), "depths": (3, 4, 4, 4, 4)},
    "L": {"expansions": (3, 4, 8, 8, 8), "depths": (3, 4, 8, 8, 8)},
}
"""The paper's sizes; with kernel 3 it counts 5.6, 10.5, 17.6 and 61.8 million weights."""


class MedNeXtBlock(nn.Module):
    """(B, c_in, *S) to (B, c_out, *S), and the input added where the shape stays.

    Args:
        look: the convolution that sees one channel at a time, and may change S.
        shortcut: the input in the shape of the output.
    """

    def __init__(self, look: Conv | Up, c_out: int, *, expansion: int, shortcut: nn.Module) -> None:
        super().__init__()
        dims, c_in = look.weight.ndim - 2, look.in_channels
        self.look, self.norm = look, InstanceNorm(c_in)
        self.expand = convolution(dims, c_in, expansion * c_in, 1, bias=True)
        self.compress = convolution(dims, expansion * c_in, c_out, 1, bias=True)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.compress(F.gelu(self.expand(self.norm(self.look(x)))))
        out: Tensor = mixed + self.shortcut(x)
        return out


class AddStage(nn.Module):
    """One step up: (B, c_below, *S) and a skip of the finer stage's shape, which is added."""

    def __init__(self, gate: nn.Module | None, up: nn.Module, blocks: nn.Module) -> None:
        super().__init__()
        self.gate, self.up, self.blocks = gate, up, blocks

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        x = self.up(below)
        if self.gate is not None:
            skip = self.gate(skip, x)
        out: Tensor = self.blocks(x + skip)
        return out


class MedNeXt(UShape):
    """Image (B, in_channels, *S) to logits (B, out_channels, *S).

    The paper's sizes are `MedNeXt(3, 1, 2, **MEDNEXT_SIZES["S"])` and so on.

    Args:
        features: channels of each stage, finest first.
        strides: what each stage after the first divides S by; 2 in the paper.
        kernel: side of the kernels that look around; 3 or 5 in the paper.
        expansions: how much wider the layer in the middle of a block is, in each stage; a step up
            or down has that of the stage it leads to, as in the authors' code.
        depths: blocks in each stage, of the encoder and of the decoder.
        attention: gates on the skip connections.

    Raises:
        ShapeError: the lists do not tell of the same stages, or the kernel has an even side.
    """

    def __init__(  # noqa: PLR0913 - a plan is given as keywords
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: tuple[int, ...] = (32, 64, 128, 256, 512),
        strides: tuple[Size, ...] = (2, 2, 2, 2),
        kernel: Size = 3,
        expansions: tuple[int, ...] = (2, 2, 2, 2, 2),
        depths: tuple[int, ...] = (2, 2, 2, 2, 2),
        attention: bool = False,
    ) -> None:
        dims = spatial_dims
        steps = [per_axis(1, dims), *(per_axis(s, dims) for s in strides)]
        check_stages(features=features, strides=steps, expansions=expansions, depths=depths)
        pairs = list(pairwise(features))
        downs = zip(pairs, steps[1:], expansions[1:], strict=True)
        ups = zip(pairs, steps[1:], expansions[:-1], strict=True)
        ways_in: list[nn.Module] = [convolution(dims, in_channels, features[0], 1, bias=True)]
        ways_in += [_block(dims, f, c, kernel, step, e) for (f, c), step, e in downs]
        ways_up = [_block_up(dims, c, f, kernel, step, e) for (f, c), step, e in ups]

        def blocks(stage: int) -> list[MedNeXtBlock]:
            width, expansion = features[stage], expansions[stage]
            return [
                _block(dims, width, width, kernel, steps[0], expansion)
                for _ in range(depths[stage])
            ]

        encoder = [nn.Sequential(way, *blocks(stage)) for stage, way in enumerate(ways_in)]
        gated = features[:-1] if attention else ()
        gates = [AttentionGate(dims, fine, layers=AS_TORCH) for fine in gated]
        decoder = [
            AddStage(gate, way, nn.Sequential(*blocks(stage)))
            for stage, (way, gate) in enumerate(zip_longest(ways_up, gates))
        ]
        head = convolution(dims, features[0], out_channels, 1, bias=True)
        super().__init__(in_channels, encoder, reversed(decoder), head, factors_of(steps), AS_TORCH)
        self.features = tuple(features)


def _block(
    dims: int, c_in: int, c_out: int, kernel: Size, step: tuple[int, ...], expansion: int
) -> MedNeXtBlock:
    """A block that divides S by `step`, or keeps it."""
    look = convolution(dims, c_in, c_in, kernel, stride=step, bias=True, groups=c_in)
    same = c_in == c_out and max(step) == 1
    shortcut = nn.Identity() if same else convolution(dims, c_in, c_out, 1, stride=step, bias=True)
    return MedNeXtBlock(look, c_out, expansion=expansion, shortcut=shortcut)


def _block_up(
    dims: int, c_in: int, c_out: int, kernel: Size, step: tuple[int, ...], expansion: int
) -> nn.Sequential:
    """A block that multiplies S by `step`: kernels reach step * (S - 1) + 1, zeros stand before."""
    look = _spread(dims, c_in, c_in, per_axis(kernel, dims), step, groups=c_in)
    shortcut = _spread(dims, c_in, c_out, (1,) * dims, step)
    rim = tuple(pad for s in reversed(step) for pad in (s - 1, 0))
    zeros = nn.ZeroPad2d(rim) if dims == 2 else nn.ZeroPad3d(rim)  # type: ignore[arg-type]
    return nn.Sequential(MedNeXtBlock(look, c_out, expansion=expansion, shortcut=shortcut), zeros)


def _spread(
    dims: int,
    c_in: int,
    c_out: int,
    kernel: tuple[int, ...],
    step: tuple[int, ...],
    *,
    groups: int = 1,
) -> Up:
    """A transposed convolution of any odd kernel, (B, c_in, *S) to step * (S - 1) + 1 voxels."""
    kind = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
    padding = tuple(side // 2 for side in kernel)
    return kind(c_in, c_out, kernel, step, padding, groups=groups)  # type: ignore[arg-type]
