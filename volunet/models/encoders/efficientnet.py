"""EfficientNet encoders out of MONAI's, for two and three dimensions.

Blocks are called as efficientnet-pytorch calls them. While the network trains, blocks leave their
own work out at random (stochastic depth, up to a fifth in the last), drawn from torch's global
generator. Source: Tan and Le 2019 (arXiv:1905.11946).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from volunet.models.encoders.encoder import Encoder, stage

EFFICIENTNETS = tuple(f"efficientnet-b{number}" for number in range(8))
STACKS = ((0,), (1,), (2,), (3, 4), (5, 6))
"""The stacks of blocks that work at each scale."""


def make_efficientnet(name: str, spatial_dims: int, in_channels: int) -> Encoder:
    """The encoder that is called `name`, with MONAI's random weights.

    MONAI's activation is replaced by torch's own of the same formula, which other runtimes know.
    """
    from monai.networks.nets.efficientnet import EfficientNetBNFeatures

    net = EfficientNetBNFeatures(
        name, pretrained=False, spatial_dims=spatial_dims, in_channels=in_channels, num_classes=1
    )
    blocks = {number: _blocks(net._blocks, numbers) for number, numbers in enumerate(STACKS)}
    first = stage(
        _conv_stem_padding=net._conv_stem_padding,
        _conv_stem=net._conv_stem,
        _bn0=net._bn0,
        _swish=nn.SiLU(),
        _blocks=blocks.pop(0),
    )
    return Encoder(
        name,
        [first, *(stage(_blocks=part) for part in blocks.values())],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        channels=(net._blocks_args[numbers[-1]].output_filters for numbers in STACKS),
    )


def _blocks(stacks: Any, numbers: tuple[int, ...]) -> nn.Sequential:
    """The blocks of some stacks, under their numbers in the whole network."""
    blocks = {name: block for number in numbers for name, block in stacks[number].named_children()}
    for block in blocks.values():
        block._swish = nn.SiLU()
    return stage(**blocks)
