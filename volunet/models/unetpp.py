r"""U-Net++: a U-Net whose skip connections are made of steps up themselves.

Tensors are (B, C, *S). Between an encoder stage and the decoder stage of its size stand further
nodes; each sees all nodes before it in its row, and the one below its left neighbour:

    X00 - X01 - X02 - X03        the image's size
      \  /  \  /  \  /
      X10 - X11 - X12            half of it
        \  /  \  /
        X20 - X21
          \  /
          X30

The first of each row are the encoder. Each diagonal that runs up from one of them is the decoder of
a U-Net of that depth, which the next one sees; the longest one is what deep supervision sees. The
paper's own supervision, of the whole first row, is left out. With attention, a gate at each node
dims what stands left of it, all at once.

Sources: Zhou et al. 2018 (arXiv:1807.10165); with gates, Li et al. 2020 (Attention UNet++,
10.1109/ICIP40778.2020.9190761). Normalisation and activation are this package's usual ones; the
papers have ReLU.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from volunet.models.blocks import AttentionGate, PlainBlock
from volunet.models.layer_settings import USUAL, LayerSettings
from volunet.models.layers import Size, convolution, per_axis, pooling, upsampling
from volunet.models.unet import UShape, check_stages, factors_of


class DenseStage(nn.Module):
    """A node: (B, c_below, *S) and what stands left of it, (B, C, *S * stride) each, to C again."""

    def __init__(self, gate: nn.Module | None, up: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.gate, self.up, self.block = gate, up, block

    def forward(self, below: Tensor, *left: Tensor) -> Tensor:
        x = self.up(below)
        if self.gate is not None:
            left = (self.gate(torch.cat(left, dim=1), x),)
        out: Tensor = self.block(torch.cat((*left, x), dim=1))
        return out


class UNetPlusPlus(UShape):
    """Image (B, in_channels, *S) to logits (B, out_channels, *S).

    Args:
        features: channels of each stage, finest first.
        strides: what each stage after the first divides S by, by max pooling.
        kernels: side of the convolutions, for all stages or one for each.
        attention: gates on the skip connections.
        layers: normalisation, activation, dropout and first weights.

    Attributes:
        decoder: the diagonals, shortest first, and the nodes of each, coarsest first.

    Raises:
        ShapeError: features, strides and kernels do not tell of the same stages.
    """

    def __init__(  # noqa: PLR0913 - a plan is given as keywords
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: tuple[int, ...] = (32, 64, 128, 256, 512),
        strides: tuple[Size, ...] = (2, 2, 2, 2),
        kernels: int | tuple[Size, ...] = 3,
        attention: bool = False,
        layers: LayerSettings = USUAL,
    ) -> None:
        dims = spatial_dims
        steps = [per_axis(1, dims), *(per_axis(s, dims) for s in strides)]
        sides = (kernels,) * len(features) if isinstance(kernels, int) else tuple(kernels)
        check_stages(features=features, strides=steps, kernels=sides)
        blocks = [
            PlainBlock(dims, c_in, c_out, kernel=side, layers=layers)
            for (c_in, c_out), side in zip(pairwise((in_channels, *features)), sides, strict=True)
        ]
        encoder = [
            nn.Sequential(pooling(dims, step), block) if max(step) > 1 else block
            for step, block in zip(steps, blocks, strict=True)
        ]

        def node(row: int, left: int) -> DenseStage:
            seen, fine, coarse = left * features[row], *features[row : row + 2]
            return DenseStage(
                AttentionGate(dims, seen, decoded=fine, layers=layers) if attention else None,
                upsampling(dims, coarse, fine, steps[row + 1]),
                PlainBlock(dims, seen + fine, fine, kernel=sides[row], layers=layers),
            )

        diagonals = [
            nn.ModuleList(node(row, below - row) for row in reversed(range(below)))
            for below in range(1, len(features))
        ]
        head = convolution(dims, features[0], out_channels, 1, bias=True)
        super().__init__(in_channels, encoder, diagonals, head, factors_of(steps), layers)
        self.features = tuple(features)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The parts that are computed again: the encoder's stages, and each node."""
        return (*self.encoder, *(node for diagonal in self.decoder for node in diagonal.children()))

    def decode(self, x: Tensor) -> list[Tensor]:
        """What the nodes of the last diagonal see, coarsest first; the last has the image's size.

        Raises:
            ShapeError: the image has a size that the network does not take.
        """
        self._check_image(x)
        rows = [[seen] for seen in self.encode(x)]
        for below, diagonal in enumerate(self.decoder, start=1):
            for row, node in zip(reversed(range(below)), diagonal.children(), strict=True):
                rows[row].append(self._through(node, rows[row + 1][-1], *rows[row]))
        return [row[-1] for row in reversed(rows[:-1])]
