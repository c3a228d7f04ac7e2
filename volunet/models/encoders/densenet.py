"""DenseNet encoders out of MONAI's densely connected networks, for two and three dimensions.

What a scale gives is looked at once its block is done, normalised and activated: just before the
transition to the next scale makes it narrower. Source: Huang et al. 2017 (arXiv:1608.06993).
"""

from __future__ import annotations

from torch import nn

from volunet.models.encoders.encoder import Encoder, stage

DENSENETS = {
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}
"""How many layers each dense block has."""
FIRST, GROWTH = 64, 32
"""Channels of the first convolution, and those that each layer adds."""


def make_densenet(name: str, spatial_dims: int, in_channels: int) -> Encoder:
    """The encoder that `DENSENETS` names, with MONAI's random weights."""
    from monai.networks.nets.densenet import DenseNet

    net = DenseNet(
        spatial_dims,
        in_channels,
        out_channels=1,
        init_features=FIRST,
        growth_rate=GROWTH,
        block_config=DENSENETS[name],
    )
    return Encoder(
        name,
        _chain(dict(net.features.named_children())),
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        channels=_channels(DENSENETS[name]),
    )


def _chain(parts: dict[str, nn.Module]) -> list[nn.Module]:
    """Each transition is cut in two: its activation ends a stage, its pooling begins the next."""
    one, two, three = (dict(parts[f"transition{i}"].named_children()) for i in (1, 2, 3))
    return [
        stage(conv0=parts["conv0"], norm0=parts["norm0"], relu0=parts["relu0"]),
        stage(pool0=parts["pool0"], denseblock1=parts["denseblock1"], transition1=_end(one)),
        stage(transition1=_begin(one), denseblock2=parts["denseblock2"], transition2=_end(two)),
        stage(transition2=_begin(two), denseblock3=parts["denseblock3"], transition3=_end(three)),
        stage(
            transition3=_begin(three),
            denseblock4=parts["denseblock4"],
            norm5=parts["norm5"],
            relu=nn.ReLU(inplace=True),
        ),
    ]


def _end(transition: dict[str, nn.Module]) -> nn.Sequential:
    return stage(norm=transition["norm"], relu=transition["relu"])


def _begin(transition: dict[str, nn.Module]) -> nn.Sequential:
    return stage(conv=transition["conv"], pool=transition["pool"])


def _channels(layers: tuple[int, ...]) -> tuple[int, ...]:
    """Each block adds to what the transition before it has halved."""
    channels = [FIRST, FIRST + layers[0] * GROWTH]
    for depth in layers[1:]:
        channels.append(channels[-1] // 2 + depth * GROWTH)
    return tuple(channels)
