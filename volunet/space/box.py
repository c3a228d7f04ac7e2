"""A box of voxels: where it starts, and where it stops."""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

import numpy as np
from numpy.typing import NDArray

from volunet.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Box:
    """Voxels from `start` up to but not including `stop`, along each axis.

    Raises:
        ShapeError: the box holds no voxel.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in zip(self.start, self.stop, strict=True)):
            raise ShapeError(f"A box holds at least one voxel, got {self.start} to {self.stop}.")

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Box:
        """The box that is all of an array of this shape."""
        return cls((0,) * len(shape), tuple(shape))

    @classmethod
    def around(cls, mask: NDArray[np.bool_], margin: int = 0) -> Box | None:
        """The smallest box that holds a mask (*S), grown by `margin` voxels within the array.

        Returns:
            None where the mask is empty.
        """
        start, stop = [], []
        for axis in range(mask.ndim):
            others = tuple(a for a in range(mask.ndim) if a != axis)
            (hits,) = np.nonzero(mask.any(axis=others))
            if not hits.size:
                return None
            start.append(max(int(hits[0]) - margin, 0))
            stop.append(min(int(hits[-1]) + 1 + margin, mask.shape[axis]))
        return cls(tuple(start), tuple(stop))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    def moved(self, by: tuple[int, ...]) -> Box:
        """The box, so many voxels further along each axis."""
        return Box(
            tuple(a + more for a, more in zip(self.start, by, strict=True)),
            tuple(b + more for b, more in zip(self.stop, by, strict=True)),
        )

    @property
    def index(self) -> tuple[slice | EllipsisType, ...]:
        """Index of the box in the last axes of an array: `array[box.index]`."""
        return (..., *map(slice, self.start, self.stop))
