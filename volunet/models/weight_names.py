"""One name for each weight, whatever layout its checkpoint has.

The names are those that the weights were first published under: torchvision's for ResNet, ResNeXt
and DenseNet (without "features."), efficientnet-pytorch's for EfficientNet. Also understood are
those of MedicalNet ("module." in front), of torchvision's first DenseNets ("norm.1"), of MONAI's
networks, and of volunet's own encoders and U-Nets.
"""

from __future__ import annotations

import re

WRAPPED = r"^(module\.|net\.|encoder\.)+"
"""For several processors, or in a U-Net."""
STAGE = r"^\d+\.(?=_?[a-z])"
"""Of an encoder of ours."""
LAYOUTS = (
    (WRAPPED, r""),
    (STAGE, r""),
    (r"^features\.(?=[a-z])", r""),
    (r"(\.denselayer\d+)\.layers\.", r"\1."),  # MONAI's DenseNet
    (r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),
    (r"^_blocks\.\d+\.(\d+)\.", r"_blocks.\1."),  # MONAI's EfficientNet counts stacks too
)


def published_name(name: str) -> str:
    """The name that a weight was published under.

    >>> published_name("module.layer1.0.conv1.weight")
    'layer1.0.conv1.weight'
    >>> published_name("features.denseblock1.denselayer2.norm.1.bias")
    'denseblock1.denselayer2.norm1.bias'
    >>> published_name("encoder.1._blocks.2._bn0.weight")
    '_blocks.2._bn0.weight'
    """
    for pattern, written in LAYOUTS:
        name = re.sub(pattern, written, name)
    return name


def is_own(name: str) -> bool:
    """Whether a weight is named as in volunet's own encoders, by its stage.

    >>> is_own("encoder.1.layer1.0.conv1.weight"), is_own("module.layer1.0.conv1.weight")
    (True, False)
    """
    return re.match(STAGE, re.sub(WRAPPED, "", name)) is not None
