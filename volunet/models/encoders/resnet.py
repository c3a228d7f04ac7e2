"""ResNet encoders out of MONAI's residual networks, for two and three dimensions.

Sources: He et al. 2016 (arXiv:1512.03385), with the stride in the 3 x 3 convolution of a
bottleneck, as in torchvision; shortcuts that are padded with zeros, "option A" there, as in the
18 and 34 layers of MedicalNet, Chen et al. 2019 (1904.00625).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from volunet.models.encoders.encoder import Encoder, stage

PADDED = "-padded"
RESNETS = {
    "resnet10": ("basic", (1, 1, 1, 1)),
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet18-padded": ("basic", (2, 2, 2, 2)),
    "resnet34-padded": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
    "resnet200": ("bottleneck", (3, 24, 36, 3)),
}
"""The kind of block, and how many of them each stage after the first has."""
PLANES = (64, 128, 256, 512)


def make_resnet(name: str, spatial_dims: int, in_channels: int) -> Encoder:
    """The encoder that `RESNETS` names, with MONAI's random weights."""
    from monai.networks.nets.resnet import ResNet

    kind, depths = RESNETS[name]
    net = ResNet(
        kind,
        list(depths),
        list(PLANES),
        spatial_dims=spatial_dims,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        shortcut_type="A" if name.endswith(PADDED) else "B",
        feed_forward=False,
        bias_downsample=False,
    )
    if name.endswith(PADDED):
        for layer, planes in zip((net.layer2, net.layer3, net.layer4), PLANES[1:], strict=True):
            layer[0].downsample = PaddedShortcut(planes)
    wide = 4 if kind == "bottleneck" else 1
    return Encoder(
        name,
        _chain(net),
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        channels=(PLANES[0], *(planes * wide for planes in PLANES)),
    )


def _chain(net: Any) -> list[nn.Module]:
    return [
        stage(conv1=net.conv1, bn1=net.bn1, act=net.act),
        stage(maxpool=net.maxpool, layer1=net.layer1),
        stage(layer2=net.layer2),
        stage(layer3=net.layer3),
        stage(layer4=net.layer4),
    ]


class PaddedShortcut(nn.Module):
    """Every other voxel, and zeros for new channels; MONAI's own lets no gradient through."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        fewer = x[..., ::2, ::2] if x.ndim == 4 else x[..., ::2, ::2, ::2]
        return F.pad(fewer, (*(0, 0) * (x.ndim - 2), 0, self.channels - x.shape[1]))
