"""The U-Nets of 2015 and 2016, which lose the rim of the image because nothing is padded.

Tensors are (B, C, *S). Every 3x3 convolution takes one voxel off each side, and no other layer
does, so what the network loses follows from the number of its stages alone; with k of them, along
each axis,

    margin = 3 * 2**k - 4                  92 for the five stages of 2015, 44 for the four of 2016
    sizes taken: 2**(k - 1) apart          572 -> 388 among them

A large image is cut into tiles whose logits lie side by side, each computed from a tile that is
larger by the margin on every side (the overlap-tile strategy); beyond its border the image is
mirrored. Tiles that start a multiple of `divisor` apart give what the whole image gives.

Sources: U-Net, Ronneberger, Fischer and Brox 2015 (arXiv:1505.04597); 3D U-Net, Cicek et al. 2016
(arXiv:1606.06650).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from volunet.errors import ShapeError
from volunet.models.blocks import AttentionGate
from volunet.models.layer_settings import LayerSettings
from volunet.models.layers import after_convolution, convolution, per_axis, pooling, upsampling
from volunet.models.sizes import Sizes
from volunet.models.unet import UpStage, UShape, check_stages, factors_of

OWN_WEIGHTS = LayerSettings(  # `draw_weights` draws them
    activation="relu", initialisation="torch", head_initialisation="torch"
)
PAPER_2015 = OWN_WEIGHTS.model_copy(update={"normalisation": "none"})
PAPER_2016 = OWN_WEIGHTS.model_copy(update={"normalisation": "batch"})


class Crop(nn.Module):
    """The middle of a skip connection, `margin` voxels less on each side, through a gate or not."""

    def __init__(self, margin: int, gate: AttentionGate | None) -> None:
        super().__init__()
        self.margin, self.gate = margin, gate

    def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
        middle = slice(self.margin, -self.margin)
        flat = skip.ndim == 4
        seen = skip[..., middle, middle] if flat else skip[..., middle, middle, middle]
        return seen if self.gate is None else self.gate(seen, decoded)

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


class PooledUShape(UShape):
    """A U-Net of two convolutions a stage, that halves its maps by max pooling.

    Args:
        convolved: for each stage of the encoder, the channels between its two convolutions and
            those after them.
        up: channels that each step up gives to the decoder, finest first.
        padded: convolutions see zeros around their maps, and the logits have the image's size.
        attention: gates on the skip connections.
        dropout: share of numbers that the two coarsest stages lose while training.
    """

    def __init__(  # noqa: PLR0913 - the two papers differ in each of them
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        *,
        convolved: list[tuple[int, int]],
        up: Sequence[int],
        padded: bool,
        attention: bool,
        dropout: float,
        layers: LayerSettings,
    ) -> None:
        features = tuple(after for _, after in convolved)
        stages, bare = len(features), layers.normalisation == "none"
        margins = [0 if padded else 2 * margin_of(stages - n - 1) for n in range(stages - 1)]
        encoder = [
            nn.Sequential(
                *([pooling(dims, 2)] if stage else []),
                *_convolutions(dims, (c_in, *channels), padded, layers),
                *([nn.Dropout(dropout)] if dropout and stage >= stages - 2 else []),
            )
            for stage, (c_in, channels) in enumerate(
                zip((in_channels, *features), convolved, strict=False)
            )
        ]
        decoder = [
            UpStage(
                _way_across(dims, fine, risen, lost, layers if attention else None),
                upsampling(dims, coarse, risen, 2, bias=bare),
                nn.Sequential(*_convolutions(dims, (fine + risen, fine, fine), padded, layers)),
            )
            for (fine, coarse), risen, lost in zip(pairwise(features), up, margins, strict=True)
        ]
        head = convolution(dims, features[0], out_channels, 1, bias=True)
        steps = [per_axis(1 if stage == 0 else 2, dims) for stage in range(stages)]
        super().__init__(in_channels, encoder, reversed(decoder), head, factors_of(steps), layers)
        self.features, self.padded = features, padded
        draw_weights(self)

    @property
    def sizes(self) -> Sizes:
        """The sizes of images that the network takes, and of its answers."""
        if self.padded:
            return super().sizes
        dims, step, margin = len(self.divisor), self.divisor[0], margin_of(len(self.features))
        bottom = max(1, -(-(4 * step - 3) // step))  # the least there that leaves logits at the top
        least = step * (bottom + 8) - 4
        return Sizes((least,) * dims, (step,) * dims, (margin,) * dims)


class OriginalUNet(PooledUShape):
    """The U-Net of Ronneberger, Fischer and Brox 2015 (arXiv:1505.04597).

    Image (B, in_channels, *S) to logits (B, out_channels, *(S - 2 * margin)): 572 x 572 to
    388 x 388. The paper has no ReLU after its up-convolutions, which the authors' files have.

    Args:
        features: channels of each stage, finest first.
        padded: convolutions see zeros around their maps, and the logits have the image's size.
        attention: gates on the skip connections, which the paper has not.
        dropout: share of numbers lost while training at the end of the contracting path: after its
            two last stages, a half of them, as the authors' files have it.

    Raises:
        ShapeError: there are fewer than two stages, or the image has a size that the network does
            not take.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: tuple[int, ...] = (64, 128, 256, 512, 1024),
        padded: bool = False,
        attention: bool = False,
        dropout: float = 0.5,
    ) -> None:
        _check_features(features, least=1)
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            convolved=[(channels, channels) for channels in features],
            up=features[:-1],
            padded=padded,
            attention=attention,
            dropout=dropout,
            layers=PAPER_2015,
        )


class CicekUNet(PooledUShape):
    """The 3D U-Net of Cicek et al. 2016 (arXiv:1606.06650), or the same in two dimensions.

    Image (B, in_channels, *S) to logits (B, out_channels, *(S - 2 * margin)): 132 x 132 x 116 to
    44 x 44 x 28. Against the U-Net of 2015: batch normalisation before each ReLU; channels are
    doubled before a map is halved rather than after, so that no layer is a bottleneck; steps up
    keep theirs.

    Args:
        features: channels that each stage gives, finest first; its first convolution gives half.
        padded: convolutions see zeros around their maps, and the logits have the image's size.
        attention: gates on the skip connections, which the paper has not.

    Raises:
        ShapeError: there are fewer than two stages, one has a single channel, or the image has a
            size that the network does not take.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: tuple[int, ...] = (64, 128, 256, 512),
        padded: bool = False,
        attention: bool = False,
    ) -> None:
        _check_features(features, least=2)
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            convolved=[(channels // 2, channels) for channels in features],
            up=features[1:],
            padded=padded,
            attention=attention,
            dropout=0.0,
            layers=PAPER_2016,
        )


def margin_of(stages: int) -> int:
    """Voxels lost on each side by so many stages of two 3x3 convolutions, down and up again.

    >>> [margin_of(stages) for stages in (1, 2, 4, 5)]
    [2, 8, 44, 92]
    """
    return (3 << stages) - 4


def draw_weights(net: nn.Module) -> None:
    """Normal weights of standard deviation sqrt(2 / N) for N numbers that come in, biases 0.

    A transposed convolution whose kernel is its stride sees one voxel of each channel that comes
    in; torch counts otherwise there.
    """
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            incoming = layer.weight[0].numel()
        elif isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
            incoming = layer.weight.shape[0]
        else:
            continue
        if not layer.weight.is_meta:
            nn.init.normal_(layer.weight, std=(2 / incoming) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _way_across(
    dims: int, fine: int, risen: int, lost: int, layers: LayerSettings | None
) -> nn.Module | None:
    """What a skip connection goes through: a gate where it has layers, cropped where it must be."""
    gate = None if layers is None else AttentionGate(dims, fine, decoded=risen, layers=layers)
    return Crop(lost, gate) if lost else gate


def _convolutions(
    dims: int, channels: Iterable[int], padded: bool, layers: LayerSettings
) -> Iterable[nn.Module]:
    """A 3x3 convolution from each number of channels to the next, with what stands after it."""
    for c_in, c_out in pairwise(channels):
        bare = layers.normalisation == "none"
        yield convolution(dims, c_in, c_out, 3, bias=bare, padded=padded)
        yield from after_convolution(dims, c_out, layers)


def _check_features(features: tuple[int, ...], *, least: int) -> None:
    check_stages(features=features)
    if min(features) < least:
        raise ShapeError(f"Each stage has {least} channels or more, got features {features}.")
