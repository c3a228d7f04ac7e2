"""Where the voxels of one grid lie in another: an index map, kept clean of rounding noise.

Most maps in practice only turn, scale and shift whole axes; those are kept apart as `Axes`, since
looking a volume up along one axis after another costs far less than a look-up in three dimensions,
and is exact where voxels fall on voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volunet.space.grid import Grid

NOISE = 1e-6
"""Parts of a voxel per voxel below which a map's entry is taken for rounding noise."""


@dataclass(frozen=True)
class Axes:
    """A map that takes whole axes to whole axes.

    Args:
        order: the source axis that each target axis runs along.
        step: source voxels per target voxel, for each target axis; negative where it runs back.
        start: source index of target voxel 0, for each target axis.
    """

    order: tuple[int, int, int]
    step: tuple[float, float, float]
    start: tuple[float, float, float]

    @property
    def on_lattice(self) -> bool:
        """Whether every target voxel falls on a source voxel (or outside the source)."""
        whole = [float(x).is_integer() for x in (*self.step, *self.start)]
        return all(whole) and all(abs(s) == 1 for s in self.step)

    def coordinates(self, axis: int, first: int, stop: int) -> NDArray[np.float64]:
        """Source indices, along `order[axis]`, of the target's rows from `first` to `stop`."""
        rows = np.arange(first, stop, dtype=np.float64)
        return rows * np.float64(self.step[axis]) + np.float64(self.start[axis])


def index_map(source: Grid, target: Grid) -> NDArray[np.float64]:
    """The (4, 4) matrix from voxel indices of `target` to those of `source`.

    Entries within `NOISE` of a whole number are that number, so that grids which agree but for the
    rounding of their files agree exactly.
    """
    across = np.asarray(np.linalg.inv(source.affine) @ target.affine, dtype=np.float64)
    whole = np.rint(across)
    slack = np.full((4, 4), NOISE)
    slack[:3, 3] = NOISE * max(*source.shape, *target.shape)
    across = np.where(np.abs(across - whole) <= slack, whole, np.round(across, 10))
    return np.asarray(across, dtype=np.float64)


def coordinates(
    across: NDArray[np.float64], first: int, shape: tuple[int, ...]
) -> list[NDArray[np.float64]]:
    """Source indices of the target's rows from `first` on, one array for each source axis.

    Args:
        across: (4, 4), from `index_map`.
        shape: of the rows, (I, J, K).

    Returns:
        Arrays that broadcast to `shape`: thin along the axes that a source axis does not run along.
    """
    index = np.ogrid[first : first + shape[0], : shape[1], : shape[2]]
    return [
        np.asarray(sum(step * i for step, i in zip(m[:3], index, strict=True) if step) + m[3])
        for m in across[:3]
    ]


def as_axes(across: NDArray[np.float64]) -> Axes | None:
    """The map axis by axis, or None where it tilts."""
    linear, shift = across[:3, :3], across[:3, 3]
    order = np.abs(linear).argmax(axis=0)
    if sorted(order.tolist()) != [0, 1, 2] or np.count_nonzero(linear) != 3:
        return None
    a, b, c = order.tolist()
    return Axes(
        (a, b, c),
        (float(linear[a, 0]), float(linear[b, 1]), float(linear[c, 2])),
        (float(shift[a]), float(shift[b]), float(shift[c])),
    )
