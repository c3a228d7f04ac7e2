"""Which sizes of images a network takes, and how much smaller its answer is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from volunet.errors import ShapeError


@dataclass(frozen=True)
class Sizes:
    """The sizes S that a network takes: `least` along each axis, and any number of `step`s more.

    Args:
        margin: voxels that the answer is short of the image on each side, for want of padding.

    >>> paper = Sizes(least=(188, 188), step=(16, 16), margin=(92, 92))
    >>> paper.input_for((388, 388)), paper.input_for((389, 4))
    ((572, 572), (588, 188))
    """

    least: tuple[int, ...]
    step: tuple[int, ...]
    margin: tuple[int, ...]

    def at_least(self, size: Iterable[int]) -> tuple[int, ...]:
        """The smallest size that is taken and covers `size`."""
        axes = zip(size, self.least, self.step, strict=True)
        return tuple(low + max(0, -(-(n - low) // step)) * step for n, low, step in axes)

    def input_for(self, output: Iterable[int]) -> tuple[int, ...]:
        """The smallest size that is taken and whose answer covers `output`."""
        axes = zip(output, self.margin, strict=True)
        return self.at_least(n + 2 * lost for n, lost in axes)

    def output_of(self, size: Iterable[int]) -> tuple[int, ...]:
        """The size of the answer to an image of `size`."""
        return tuple(n - 2 * lost for n, lost in zip(size, self.margin, strict=True))

    def check_images(self, shape: tuple[int, ...], in_channels: int) -> None:
        """Nothing, where images (B, in_channels, *S) of this shape are taken.

        Raises:
            ShapeError: they are not.
        """
        if len(shape) != 2 + len(self.step) or shape[1] != in_channels:
            raise ShapeError(
                f"The network takes (B, {in_channels}, *S) with {len(self.step)} axes in S, got "
                f"{shape}."
            )
        self.check(shape[2:])

    def check(self, size: tuple[int, ...]) -> None:
        """Nothing, where `size` is taken.

        Raises:
            ShapeError: it is not.
        """
        padded = self.at_least(size)
        if padded == size:
            return
        if not any(self.margin):
            raise ShapeError(
                f"An image of {size} does not halve evenly; every axis must be a multiple of "
                f"{self.step}. Pad it to {padded}."
            )
        raise ShapeError(
            f"An image of {size} does not fit convolutions without padding; the sizes taken are "
            f"{self.least} and multiples of {self.step} more. Pad it to {padded}, by reflection, "
            f"for logits of {self.output_of(padded)}."
        )
