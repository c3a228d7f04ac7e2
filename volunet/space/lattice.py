"""A lattice of a scan's voxels, coarse enough to be looked through at once."""

from __future__ import annotations

from math import prod

from volunet.space.grid import Grid

LATTICE_MM, LATTICE_VOX = 4.0, 10


def lattice_step(grid: Grid) -> tuple[int, int, int]:
    """Voxels from one point to the next along each axis.

    Points lie `LATTICE_MM` apart at most; in scans of voxels below 0.4 mm (of small animals, of
    specimens) `LATTICE_VOX` of their smallest sides.
    """
    gap_mm = min(LATTICE_MM, LATTICE_VOX * min(grid.spacing))
    i, j, k = (max(1, int(gap_mm / mm + 1e-6)) for mm in grid.spacing)
    return i, j, k


def lattice_points(grid: Grid) -> int:
    """How many points there are."""
    return prod(-(-n // gap) for n, gap in zip(grid.shape, lattice_step(grid), strict=True))


def cell_size(grid: Grid) -> tuple[int, int, int]:
    """Voxels of a cell of about `LATTICE_MM`, at least one along each axis."""
    i, j, k = (max(1, round(LATTICE_MM / mm)) for mm in grid.spacing)
    return i, j, k


def cells_in(grid: Grid) -> int:
    """How many cells there are."""
    return prod(-(-n // size) for n, size in zip(grid.shape, cell_size(grid), strict=True))
