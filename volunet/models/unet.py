"""U-Net for images of two or three dimensions: residual or plain, with or without attention gates.

Tensors are (B, C, *S), where S has `spatial_dims` axes. Stage 0 works at the resolution of the
image; each later stage divides S by its stride, so S must be a multiple of `UNet.divisor`.

Sources: U-Net, Ronneberger et al. 2015 (arXiv:1505.04597) and Cicek et al. 2016 (1606.06650); its
plain form, kernels and strides by axis, Isensee et al. 2021 (nnU-Net, 10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from operator import mul

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from volunet.errors import ShapeError
from volunet.models.blocks import AttentionGate, MakeBlock, PlainBlock, ResidualBlock
from volunet.models.layer_settings import USUAL, LayerSettings
from volunet.models.layers import Conv, Size, convolution, initialise, per_axis, upsampling
from volunet.models.sizes import Sizes


class UpStage(nn.Module):
    """One step up: (B, c_below, *S) and a skip (B, c_skip, *S * stride) to the skip's shape."""

    def __init__(self, gate: nn.Module | None, up: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.gate, self.up, self.block = gate, up, block

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        x = self.up(below)
        if self.gate is not None:
            skip = self.gate(skip, x)
        out: Tensor = self.block(torch.cat((skip, x), dim=1))
        return out


class UShape(nn.Module):
    """What all U-Nets do once they are built: down through stages, and up again with the skips.

    Args:
        in_channels: of the image.
        encoder: a block for each stage, finest first.
        decoder: a step up to each stage but the coarsest, coarsest first.
        head: features of the finest stage to logits.
        factors: what each stage's size is the image's size divided by, along each axis.
        layers: how first weights are drawn.

    Attributes:
        features: channels of each stage, finest first.
        recompute: stages are computed again in the backward pass rather than kept, which takes
            less memory and a third more time (Chen et al. 2016, arXiv:1604.06174).
    """

    recompute = False
    features: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        encoder: Iterable[nn.Module],
        decoder: Iterable[nn.Module],
        head: Conv,
        factors: tuple[tuple[int, ...], ...],
        layers: LayerSettings = USUAL,
    ) -> None:
        super().__init__()
        self.in_channels, self.factors = in_channels, factors
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)
        self.head = head
        initialise(self, layers, head=head)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The parts that are computed again, each as a whole, where `recompute` is set."""
        return (*self.encoder, *self.decoder)

    @property
    def divisor(self) -> tuple[int, ...]:
        """What sizes of images differ by; where nothing is lost, each is a multiple of it."""
        return self.factors[-1]

    @property
    def sizes(self) -> Sizes:
        """The sizes of images that the network takes, and of its answers."""
        return Sizes(self.divisor, self.divisor, (0,) * len(self.divisor))

    @property
    def margin(self) -> tuple[int, ...]:
        """Voxels that the logits are short of the image on each side, along each axis."""
        return self.sizes.margin

    def input_size_for(self, output: Sequence[int]) -> tuple[int, ...]:
        """The smallest size of an image whose logits cover `output`."""
        return self.sizes.input_for(output)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.decode(x)[-1])
        return logits

    def decode(self, x: Tensor) -> list[Tensor]:
        """What each decoder stage sees, coarsest first; the last has the size of the image.

        Raises:
            ShapeError: the image has a size that the network does not take.
        """
        self._check_image(x)
        skips = self.encode(x)
        seen = [skips.pop()]
        for up in self.decoder:
            seen.append(self._through(up, seen[-1], skips.pop()))
        return seen[1:]

    def encode(self, x: Tensor) -> list[Tensor]:
        """What the decoder gets from the way down, finest first."""
        seen: list[Tensor] = []
        for stage in self.encoder:
            seen.append(self._through(stage, seen[-1] if seen else x))
        return seen

    def _through(self, stage: nn.Module, *seen: Tensor) -> Tensor:
        again = self.recompute and torch.is_grad_enabled()
        out: Tensor = checkpoint(stage, *seen, use_reentrant=False) if again else stage(*seen)
        return out

    def _check_image(self, x: Tensor) -> None:
        self.sizes.check_images(tuple(map(int, x.shape)), self.in_channels)


class UNet(UShape):
    """Image (B, in_channels, *S) to logits (B, out_channels, *S).

    Args:
        features: channels of each stage, finest first.
        strides: what each stage after the first divides S by; a tuple where axes differ, so that
            thick slices can keep their axis for longer.
        kernels: side of the convolutions, for all stages or one for each; a tuple where axes
            differ, such as (1, 3, 3) while slices are thick.
        residual: blocks add their input to their output.
        attention: gates on the skip connections.
        layers: normalisation, activation, dropout and first weights.

    Raises:
        ShapeError: features, strides and kernels do not tell of the same stages.
    """

    def __init__(  # noqa: PLR0913 - a plan is given as keywords, and MONAI's users expect them
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: tuple[int, ...] = (32, 64, 128, 256, 320),
        strides: tuple[Size, ...] = (2, 2, 2, 2),
        kernels: int | tuple[Size, ...] = 3,
        residual: bool = False,
        attention: bool = False,
        layers: LayerSettings = USUAL,
    ) -> None:
        steps = [per_axis(1, spatial_dims), *(per_axis(s, spatial_dims) for s in strides)]
        sides = (kernels,) * len(features) if isinstance(kernels, int) else tuple(kernels)
        check_stages(features=features, strides=steps, kernels=sides)
        block: MakeBlock = ResidualBlock if residual else PlainBlock
        channels = pairwise((in_channels, *features))
        encoder = [
            block(spatial_dims, c_in, c_out, kernel=side, stride=step, layers=layers)
            for (c_in, c_out), side, step in zip(channels, sides, steps, strict=True)
        ]
        decoder = [
            UpStage(
                AttentionGate(spatial_dims, fine, layers=layers) if attention else None,
                upsampling(spatial_dims, coarse, fine, step),
                block(spatial_dims, 2 * fine, fine, kernel=side, layers=layers),
            )
            for (fine, coarse), side, step in reversed(
                list(zip(pairwise(features), sides[:-1], steps[1:], strict=True))
            )
        ]
        head = convolution(spatial_dims, features[0], out_channels, 1, bias=True)
        super().__init__(in_channels, encoder, decoder, head, factors_of(steps), layers)
        self.features = tuple(features)


def factors_of(steps: Iterable[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """What the size is divided by at each stage, from what each stage divides it by."""
    return tuple(accumulate(steps, lambda f, s: tuple(map(mul, f, s))))


def check_stages(**lists: Sequence[object]) -> None:
    """Nothing, where the lists, `features` among them, have one entry for each of several stages.

    Raises:
        ShapeError: they differ in length, or tell of a single stage or none.
    """
    if len({len(values) for values in lists.values()}) > 1:
        told = ", ".join(f"{name} {len(values)}" for name, values in lists.items())
        raise ShapeError(
            f"Each stage has one entry in every list, and the first stage no stride; the lists "
            f"tell of these numbers of stages: {told}."
        )
    if len(lists["features"]) < 2:
        raise ShapeError(f"A U-Net has two stages or more, got features {lists['features']}.")
