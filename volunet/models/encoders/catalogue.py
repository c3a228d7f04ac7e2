"""The encoders there are, by name. MONAI is loaded when one of its networks is asked for."""

from __future__ import annotations

from collections.abc import Callable

from volunet.errors import ConfigError, ShapeError
from volunet.models.encoders.densenet import DENSENETS, make_densenet
from volunet.models.encoders.efficientnet import EFFICIENTNETS, make_efficientnet
from volunet.models.encoders.encoder import Encoder
from volunet.models.encoders.resnet import RESNETS, make_resnet
from volunet.models.encoders.resnext import RESNEXTS, make_resnext

ENCODERS: dict[str, Callable[[str, int, int], Encoder]] = {
    **dict.fromkeys(RESNETS, make_resnet),
    **dict.fromkeys(RESNEXTS, make_resnext),
    **dict.fromkeys(DENSENETS, make_densenet),
    **dict.fromkeys(EFFICIENTNETS, make_efficientnet),
}


def make_encoder(name: str, spatial_dims: int, in_channels: int) -> Encoder:
    """An encoder with random weights, for images (B, in_channels, *S).

    Raises:
        ConfigError: there is no encoder of that name.
        ShapeError: images have neither two nor three axes.
    """
    if name not in ENCODERS:
        raise ConfigError(f"There is no encoder {name!r}. Those there are: {', '.join(ENCODERS)}.")
    if spatial_dims not in (2, 3):
        raise ShapeError(f"Encoders take images of 2 or 3 axes, got spatial_dims={spatial_dims}.")
    return ENCODERS[name](name, spatial_dims, in_channels)
