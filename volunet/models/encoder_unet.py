"""A U-Net whose way down is a classification network, whose weights may have been learnt elsewhere.

Tensors are (B, C, *S), where S has `spatial_dims` axes. These encoders halve the image before they
look at it twice, so their finest features have half its size. What the decoder gets at full size
is the image itself, through two small convolutions of its own.

Sources: the idea, Iglovikov and Shvets 2018 (TernausNet, arXiv:1801.05746); the decoder is that of
`volunet.models.unet`.
"""

from __future__ import annotations

from torch import Tensor, nn

from volunet.errors import ShapeError
from volunet.models.blocks import AttentionGate, PlainBlock
from volunet.models.encoders.catalogue import make_encoder
from volunet.models.encoders.encoder import Encoder
from volunet.models.layer_settings import USUAL, LayerSettings
from volunet.models.layers import convolution, per_axis, upsampling
from volunet.models.unet import UpStage, UShape


class EncoderUNet(UShape):
    """Image (B, in_channels, *S) to logits (B, out_channels, *S).

    The encoder keeps the batch normalisation and the first weights of its family; what learnt
    weights replace them with, `volunet.models.weights` tells.

    Args:
        encoder: a name in `volunet.models.encoders.catalogue`.
        decoder_features: channels of the decoder's stages, finest first: at the image's size, at
            half of it, and so on; one for each stage of the encoder.
        attention: gates on the skip connections.
        layers: normalisation, activation, dropout and first weights of the decoder.

    Raises:
        ConfigError: there is no such encoder.
        ShapeError: the decoder has another number of stages than the encoder.
    """

    encoder: Encoder

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        encoder: str = "resnet34",
        decoder_features: tuple[int, ...] = (16, 32, 64, 128, 256),
        attention: bool = False,
        layers: LayerSettings = USUAL,
    ) -> None:
        way_down = make_encoder(encoder, spatial_dims, in_channels)
        _check_stages(way_down, decoder_features)
        decoder = _way_up(way_down, decoder_features, attention=attention, layers=layers)
        head = convolution(spatial_dims, decoder_features[0], out_channels, 1, bias=True)
        factors = (per_axis(1, spatial_dims), *way_down.factors)
        super().__init__(in_channels, (), decoder, head, factors, layers)
        self.encoder = way_down  # after first weights were drawn for all else
        self.features = (*decoder_features, way_down.channels[-1])

    def encode(self, x: Tensor) -> list[Tensor]:
        """The image, and the encoder's features."""
        return [x, *super().encode(x)]

    def _check_image(self, x: Tensor) -> None:
        self.encoder.check(x)


class FinestStage(nn.Module):
    """The last step up, to the size of an image that no encoder has looked at."""

    def __init__(self, entry: nn.Module, step: UpStage) -> None:
        super().__init__()
        self.entry, self.step = entry, step

    def forward(self, below: Tensor, image: Tensor) -> Tensor:
        out: Tensor = self.step(below, self.entry(image))
        return out


def _way_up(
    encoder: Encoder, features: tuple[int, ...], *, attention: bool, layers: LayerSettings
) -> list[nn.Module]:
    """A step up to each stage of the encoder but its last, coarsest first, and one to the image."""
    dims = encoder.spatial_dims
    skips = (features[0], *encoder.channels[:-1])
    coarser = (*features[1:], encoder.channels[-1])
    steps = [
        UpStage(
            AttentionGate(dims, skip, decoded=fine, layers=layers) if attention else None,
            upsampling(dims, coarse, fine, 2),
            PlainBlock(dims, skip + fine, fine, layers=layers),
        )
        for skip, fine, coarse in zip(skips, features, coarser, strict=True)
    ]
    entry = PlainBlock(dims, encoder.in_channels, features[0], layers=layers)
    return [*reversed(steps[1:]), FinestStage(entry, steps[0])]


def _check_stages(encoder: Encoder, features: tuple[int, ...]) -> None:
    if len(features) != len(encoder):
        raise ShapeError(
            f"{encoder.name} has {len(encoder)} stages, and decoder_features "
            f"{len(features)} numbers; give one for each, that of the full size first."
        )
