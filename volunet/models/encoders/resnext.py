"""ResNeXt encoders: ResNets whose 3 x 3 convolutions run in groups, in two and three dimensions.

Source: Xie et al. 2017 (arXiv:1611.05431), table 1 and figure 3c. Layers are called as torchvision
calls them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from volunet.models.encoders.encoder import Encoder, stage

PLANES = (64, 128, 256, 512)
WIDER = 4
"""What a block gives has so many times the channels that it is called by."""


@dataclass(frozen=True)
class Template:
    """The sizes that make a ResNeXt.

    Args:
        depths: blocks of each stage after the first.
        groups: of the 3 x 3 convolutions, the paper's cardinality.
        width: channels of a group in the first of these stages; each later stage doubles it.
    """

    depths: tuple[int, ...]
    groups: int
    width: int


RESNEXTS = {
    "resnext50": Template((3, 4, 6, 3), groups=32, width=4),
    "resnext101": Template((3, 4, 23, 3), groups=32, width=8),
}
"""The published 50_32x4d and 101_32x8d."""


def make_resnext(name: str, spatial_dims: int, in_channels: int) -> Encoder:
    """The encoder that `RESNEXTS` names, with He's random weights."""
    return build(name, RESNEXTS[name], spatial_dims, in_channels)


def build(name: str, template: Template, spatial_dims: int, in_channels: int) -> Encoder:
    """The encoder of a template; one group of 64 channels makes a plain ResNet."""
    dims, pool = spatial_dims, nn.MaxPool2d if spatial_dims == 2 else nn.MaxPool3d
    given = (PLANES[0], *(planes * WIDER for planes in PLANES))
    one, two, three, four = (_layer(dims, given[i], template, number=i) for i in range(4))
    stages = [
        stage(
            conv1=_convolution(dims, in_channels, PLANES[0], 7, stride=2),
            bn1=_normalisation(dims, PLANES[0]),
            act=nn.ReLU(inplace=True),
        ),
        stage(maxpool=pool(3, stride=2, padding=1), layer1=one),
        stage(layer2=two),
        stage(layer3=three),
        stage(layer4=four),
    ]
    return Encoder(name, stages, spatial_dims=dims, in_channels=in_channels, channels=given)


class Bottleneck(nn.Module):
    """Into groups, through them, out of them, and the input added (figure 3c)."""

    def __init__(
        self, dims: int, c_in: int, c_out: int, *, inner: int, groups: int, stride: int
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(dims, c_in, inner, 1)
        self.bn1 = _normalisation(dims, inner)
        self.conv2 = _convolution(dims, inner, inner, 3, stride=stride, groups=groups)
        self.bn2 = _normalisation(dims, inner)
        self.conv3 = _convolution(dims, inner, c_out, 1)
        self.bn3 = _normalisation(dims, c_out)
        self.downsample = nn.Sequential()
        if stride > 1 or c_in != c_out:
            self.downsample.append(_convolution(dims, c_in, c_out, 1, stride=stride))
            self.downsample.append(_normalisation(dims, c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _layer(dims: int, c_in: int, template: Template, *, number: int) -> nn.Sequential:
    """The blocks of one stage; the first takes the stride, which stage 0 leaves to its pooling."""
    wide, groups = PLANES[number] * WIDER, template.groups
    inner = template.width * 2**number * groups
    first = Bottleneck(dims, c_in, wide, inner=inner, groups=groups, stride=1 if number == 0 else 2)
    rest = (
        Bottleneck(dims, wide, wide, inner=inner, groups=groups, stride=1)
        for _ in range(template.depths[number] - 1)
    )
    return nn.Sequential(first, *rest)


def _convolution(
    dims: int, c_in: int, c_out: int, side: int, *, stride: int = 1, groups: int = 1
) -> nn.Module:
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    made = kind(c_in, c_out, side, stride, side // 2, groups=groups, bias=False)
    if not made.weight.is_meta:
        nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


def _normalisation(dims: int, channels: int) -> nn.Module:
    return (nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(channels)
