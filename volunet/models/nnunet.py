"""The two networks of nnU-Net v2, so that what was trained with it can be run.

Tensors are (B, C, *S). The plain one is `volunet.models.unet.UNet` but for the number of its
convolutions; the residual one begins with a stem, has several residual blocks in each stage of its
encoder, and plain convolutions in its decoder. Sources: Isensee et al. 2021 (nnU-Net,
10.1038/s41592-020-01008-z) and 2024 (residual encoders, arXiv:2404.09556).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from volunet.errors import ShapeError
from volunet.models.blocks import AttentionGate, MakeBlock, ResidualBlock
from volunet.models.layer_settings import USUAL, LayerSettings
from volunet.models.layers import ConvNorm, Size, convolution, per_axis, upsampling
from volunet.models.unet import UpStage, UShape, factors_of

RESIDUAL_DEPTHS = (1, 3, 4, 6)
"""Residual blocks in the first stages of nnU-Net's residual encoders; later stages have as many as
the last of these."""


class NnunetUNet(UShape):
    """Image (B, in_channels, *S) to logits (B, out_channels, *S).

    Args:
        features: channels of each stage, finest first.
        strides: what each stage after the first divides S by.
        kernels: side of the convolutions of each stage.
        depths: convolutions in each stage of the encoder; blocks of two, where it is residual.
        decoder_depths: convolutions in each stage of the decoder, finest first.
        residual: the encoder has a stem and residual blocks.
        attention: gates on the skip connections.
        layers: normalisation, activation, dropout and first weights.

    Raises:
        ShapeError: the lists do not tell of the same stages.
    """

    def __init__(  # noqa: PLR0913 - a plan is given as keywords
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: tuple[int, ...],
        strides: tuple[Size, ...],
        kernels: tuple[Size, ...],
        depths: tuple[int, ...],
        decoder_depths: tuple[int, ...],
        residual: bool = False,
        attention: bool = False,
        layers: LayerSettings = USUAL,
    ) -> None:
        _check_stages(len(features), kernels, depths, strides, decoder_depths)
        dims = spatial_dims
        steps = [per_axis(1, dims), *(per_axis(s, dims) for s in strides)]
        block, first = (ResidualBlock, features[0]) if residual else (ConvNorm, in_channels)
        pairs = pairwise((first, *features))
        encoder: list[nn.Module] = [
            _stage(block, dims, pair, side, step, depth, layers)
            for pair, side, step, depth in zip(pairs, kernels, steps, depths, strict=True)
        ]
        if residual:
            stem = ConvNorm(dims, in_channels, features[0], kernel=kernels[0], layers=layers)
            encoder[0] = nn.Sequential(stem, encoder[0])
        decoder = [
            UpStage(
                AttentionGate(dims, fine, layers=layers) if attention else None,
                upsampling(dims, coarse, fine, step),
                _stage(ConvNorm, dims, (2 * fine, fine), side, 1, depth, layers),
            )
            for (fine, coarse), side, step, depth in zip(
                pairwise(features), kernels[:-1], steps[1:], decoder_depths, strict=True
            )
        ]
        head = convolution(dims, features[0], out_channels, 1, bias=True)
        super().__init__(in_channels, encoder, reversed(decoder), head, factors_of(steps), layers)
        self.features, self.residual = tuple(features), residual


def residual_encoder(spatial_dims: int, stages: int) -> dict[str, Any]:
    """Arguments of `NnunetUNet` for nnU-Net's residual encoders, beside strides and kernels.

    Its presets M, L and XL are this network; they differ in the patches and batches that 8, 24 and
    40 GB of a GPU's memory have room for, and so in the number of stages.

    >>> residual_encoder(3, 6)["depths"], residual_encoder(3, 6)["features"]
    ((1, 3, 4, 6, 6, 6), (32, 64, 128, 256, 320, 320))
    """
    most = 512 if spatial_dims == 2 else 320
    return {
        "features": tuple(min(32 * 2**stage, most) for stage in range(stages)),
        "depths": (RESIDUAL_DEPTHS + RESIDUAL_DEPTHS[-1:] * stages)[:stages],
        "decoder_depths": (1,) * (stages - 1),
        "residual": True,
    }


def _stage(
    block: MakeBlock,
    dims: int,
    channels: tuple[int, int],
    kernel: Size,
    stride: Size,
    depth: int,
    layers: LayerSettings,
) -> nn.Sequential:
    """So many convolutions or residual blocks, the first of which takes the stride.

    Args:
        channels: that come in, and that go out.
    """
    c_in, c_out = channels
    first = block(dims, c_in, c_out, kernel=kernel, stride=stride, layers=layers)
    more = (block(dims, c_out, c_out, kernel=kernel, layers=layers) for _ in range(depth - 1))
    return nn.Sequential(first, *more)


def _check_stages(stages: int, *lists: Sequence[object]) -> None:
    """Kernels and depths have as many entries as there are stages, strides and so on one less."""
    found = tuple(map(len, lists))
    if found != (stages, stages, stages - 1, stages - 1):
        raise ShapeError(
            f"{stages} stages need as many kernels and depths, and one stride and one depth of "
            f"the decoder less; got {', '.join(map(str, found))} entries."
        )
