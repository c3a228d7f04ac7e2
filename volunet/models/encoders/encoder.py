"""What all encoders are: a chain of stages, each of which halves the image and is looked at.

Tensors are (B, C, *S), where S has `spatial_dims` axes. Weights keep the names that they were
published under, behind the number of their stage: "2.layer2.0.conv1.weight".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from math import prod

from torch import Tensor, nn

from volunet.errors import ShapeError
from volunet.models.sizes import Sizes


class Encoder(nn.ModuleList):
    """Image (B, in_channels, *S) to features (B, channels[i], *S / factors[i]), finest first.

    Args:
        name: in `volunet.models.encoders.catalogue`.
        stages: each takes what the one before it gave, and halves every axis.
        channels: of what each stage gives.

    Attributes:
        factors: what the size of each stage is the image's size divided by, along each axis.
    """

    def __init__(
        self,
        name: str,
        stages: Iterable[nn.Module],
        *,
        spatial_dims: int,
        in_channels: int,
        channels: Iterable[int],
    ) -> None:
        super().__init__(stages)
        self.name, self.spatial_dims, self.in_channels = name, spatial_dims, in_channels
        self.channels = tuple(channels)
        self.factors = tuple((2**stage,) * spatial_dims for stage in range(1, len(self) + 1))

    @property
    def divisor(self) -> tuple[int, ...]:
        """What every side of an image must be a multiple of."""
        return self.factors[-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each stage, finest first.

        Raises:
            ShapeError: as `check`.
        """
        self.check(x)
        seen: list[Tensor] = []
        for stage in self:
            seen.append(stage(seen[-1] if seen else x))
        return seen

    def check(self, x: Tensor) -> None:
        """Nothing, where the image is one that the encoder takes.

        Raises:
            ShapeError: it has other channels or axes, a side that is no multiple of the divisor,
                or, while batch normalisation learns, ends in a single voxel.
        """
        shape = tuple(map(int, x.shape))
        sizes = Sizes(self.divisor, self.divisor, (0,) * self.spatial_dims)
        sizes.check_images(shape, self.in_channels)
        size = shape[2:]
        if self.training and len(x) * prod(size) == prod(self.divisor):
            raise ShapeError(
                f"One voxel has no variance for batch normalisation: an image of {size} ends in "
                f"one. Train with larger images, or with several at a time."
            )


def stage(**layers: nn.Module) -> nn.Sequential:
    """Layers one after the other, under the names that their weights were published with."""
    return nn.Sequential(OrderedDict(layers))
