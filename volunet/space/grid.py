"""Where voxels sit in the patient: a shape and an affine, and nothing else.

An affine maps a voxel index (i, j, k) to the millimetres of that voxel's centre in RAS+ space:
x grows to the patient's right, y to the front (anterior), z to the head (superior).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine, from_matvec, voxel_sizes
from nibabel.orientations import (
    aff2axcodes,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from numpy.typing import ArrayLike, NDArray

from volunet.errors import GeometryError
from volunet.space.box import Box

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxels in the patient.

    Args:
        shape: number of voxels along i, j and k.
        affine: (4, 4), voxel index to RAS+ mm. Kept as a read-only float64 copy.

    Raises:
        GeometryError: the shape has an empty axis, or the affine is not (4, 4), not finite, or
            flattens an axis.
    """

    shape: Shape
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"A grid has three axes of at least one voxel, got {shape}.")
        if affine.shape != (4, 4):
            raise GeometryError(f"The affine must be (4, 4), got {affine.shape}.")
        if not np.isfinite(affine).all():
            raise GeometryError(f"The affine holds what is no number:\n{affine}")
        # Relative to the spacing, so that a scan in micrometres is as good as one in centimetres.
        volume, cuboid = abs(np.linalg.det(affine[:3, :3])), np.prod(voxel_sizes(affine))
        if volume <= 1e-6 * cuboid:
            raise GeometryError(f"The affine does not span three axes:\n{affine}")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    @property
    def spacing(self) -> Triple:
        """Distance between neighbouring voxel centres along i, j and k, in mm."""
        i, j, k = voxel_sizes(self.affine).tolist()
        return i, j, k

    @property
    def orientation(self) -> str:
        """The side of the patient each axis grows to, such as "RAS" or "LPI"."""
        return "".join(aff2axcodes(self.affine))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def extent_mm(self) -> Triple:
        """Length of the field of view along i, j and k, in mm."""
        i, j, k = (n * mm for n, mm in zip(self.shape, self.spacing, strict=True))
        return i, j, k

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Millimetres of voxel indices, (..., 3) to (..., 3)."""
        return np.asarray(apply_affine(self.affine, index), dtype=np.float64)

    def to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Voxel indices of millimetres, (..., 3) to (..., 3); fractions mean between voxels."""
        return np.asarray(apply_affine(np.linalg.inv(self.affine), world), dtype=np.float64)

    def crop(self, box: Box) -> Grid:
        """The grid of the voxels inside `box`. A box past an edge extends the grid."""
        i, j, k = box.shape
        return Grid((i, j, k), from_matvec(self.affine[:3, :3], self.to_world(box.start)))

    def respaced(self, spacing: Triple) -> Grid:
        """The grid with this spacing over the same field of view.

        The centre stays where it was. The edges move by at most a quarter of a new voxel, as a
        whole number of voxels must fit.

        Raises:
            GeometryError: a spacing that is not above 0.
        """
        if not all(0 < mm < np.inf for mm in spacing):
            raise GeometryError(f"A spacing is above 0 mm along each axis, got {spacing}.")
        zoom = np.divide(spacing, self.spacing)
        shape = np.maximum(np.rint(self.shape / zoom), 1).astype(int)
        directions = self.affine[:3, :3] * zoom
        centre = self.to_world((np.array(self.shape) - 1) / 2)
        affine = from_matvec(directions, centre - directions @ ((shape - 1) / 2))
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def with_shape(self, shape: Shape) -> Grid:
        """The grid with other voxels between the same edges."""
        if self.shape == tuple(shape):
            return self
        zoom = np.divide(self.shape, shape)
        return Grid(shape, from_matvec(self.affine[:3, :3] * zoom, self.to_world(zoom / 2 - 0.5)))

    def at_least(self, shape: tuple[int, ...]) -> Grid:
        """The grid, grown evenly on both sides of each axis that is shorter than in `shape`."""
        short = [max(wanted - n, 0) for wanted, n in zip(shape, self.shape, strict=True)]
        start = tuple(-(n // 2) for n in short)
        stop = tuple(n + s - s // 2 for n, s in zip(self.shape, short, strict=True))
        return self.crop(Box(start, stop)) if any(short) else self

    def reoriented(self, orientation: str) -> Grid:
        """The same voxels, with axes flipped and swapped to grow towards `orientation`."""
        turn = self.turn_to(orientation)
        i, j, k = np.array(self.shape)[np.argsort(turn[:, 0])].tolist()
        return Grid((i, j, k), self.affine @ inv_ornt_aff(turn, self.shape))

    def turn_to(self, orientation: str) -> NDArray[np.float64]:
        """nibabel's (3, 2) table of axis and flip that turns this grid to `orientation`."""
        turn = ornt_transform(io_orientation(self.affine), axcodes2ornt(tuple(orientation)))
        return np.asarray(turn, dtype=np.float64)

    def displacement_vox(self, other: Grid) -> float:
        """How far `other` puts a corner voxel from this grid's, at most, in this grid's voxels."""
        ends = self._corners()
        return float(np.abs(self.to_index(other.to_world(ends)) - ends).max())

    def displacement_mm(self, other: Grid) -> float:
        """How far `other` puts a corner voxel from this grid's, at most, in mm."""
        ends = self._corners()
        return float(np.linalg.norm(other.to_world(ends) - self.to_world(ends), axis=-1).max())

    def matches(self, other: Grid, *, tolerance: float = 1e-3) -> bool:
        """Whether both grids put every voxel in the same place, to a thousandth of a voxel."""
        return self.shape == other.shape and self.displacement_vox(other) <= tolerance

    def _corners(self) -> NDArray[np.float64]:
        corners = np.stack(np.meshgrid(*[(0.0, n - 1.0) for n in self.shape], indexing="ij"), -1)
        return corners.reshape(-1, 3)

    def __repr__(self) -> str:
        spacing = " x ".join(f"{mm:.3g}" for mm in self.spacing)
        return f"Grid({' x '.join(map(str, self.shape))}, {spacing} mm, {self.orientation})"
