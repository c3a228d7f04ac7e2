"""A synthetic CT with many structures, as large as one likes, made plane by plane from a seed.

    python -m benchmarks.phantom ct.nii.gz --shape 512 512 600 --structures 23

An elliptical body with fat around it and a spine, in air. Ellipsoids of 14 to 34 voxels lie in it
in three dimensions, each of one of `structures` densities; all has noise. Sizes are in voxels, so
that a network which learnt on a small phantom knows a large one. No patient was scanned for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from volunet.space.grid import Grid
from volunet.space.volume import Volume

SPACING_MM = 0.8
AIR_HU, BODY_HU, FAT_HU, BONE_HU = -1000, 40, -100, 600
NOISE_HU = 12.0
LOWEST_HU, HIGHEST_HU = -800.0, 1400.0
"""Densities of the structures are spread evenly between these: a network can learn them."""
PITCH_VOX = 32
RADIUS_VOX = (8.0, 17.0)


def densities(structures: int) -> np.ndarray:
    """The mean of each structure in HU, (structures,), none near that of the body."""
    levels = np.linspace(LOWEST_HU, HIGHEST_HU, structures + 1)
    return np.delete(levels, np.abs(levels - BODY_HU).argmin())


def ellipsoids(
    shape: tuple[int, int, int], structures: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres and half axes (n, 3) in voxels, and the structure of each (n,), from 0."""
    cells = np.stack(np.meshgrid(*[np.arange(n // PITCH_VOX) for n in shape], indexing="ij"), -1)
    cells = cells.reshape(-1, 3)
    centres = (cells + 0.5) * PITCH_VOX + rng.uniform(-3, 3, cells.shape)
    radii = rng.uniform(*RADIUS_VOX, cells.shape)
    kinds = rng.permutation(len(cells)) % structures
    x, y = (centres[:, a] / shape[a] - 0.5 for a in (0, 1))
    inside = (x / 0.36) ** 2 + (y / 0.28) ** 2 < 1
    return centres[inside], radii[inside], kinds[inside]


def make(
    shape: tuple[int, int, int],
    structures: int,
    *,
    spacing_mm: float = SPACING_MM,
    seed: int = 0,
    with_labels: bool = False,
) -> tuple[Volume, Volume | None]:
    """A scan (1, I, J, K) in int16, LPS, and its label map in uint8 if that is wanted."""
    rng = np.random.default_rng(seed)
    centres, radii, kinds = ellipsoids(shape, structures, rng)
    levels = densities(structures)
    scan = np.empty(shape, dtype=np.int16, order="F")
    labels = np.zeros(shape, dtype=np.uint8, order="F") if with_labels else None
    x, y = (np.linspace(-0.5, 0.5, n) for n in shape[:2])
    across = (x[:, None] / 0.44) ** 2 + (y[None] / 0.36) ** 2
    spine = (x[:, None] / 0.05) ** 2 + ((y[None] - 0.31) / 0.03) ** 2
    tissue = np.select([across > 1, across > 0.94, spine < 1], [AIR_HU, FAT_HU, BONE_HU], BODY_HU)
    for k in range(shape[2]):
        plane, marks = tissue.astype(np.float32), np.zeros(shape[:2], dtype=np.uint8)
        left = 1 - ((k - centres[:, 2]) / radii[:, 2]) ** 2
        for n in np.flatnonzero(left > 0):
            low = np.maximum(np.floor(centres[n, :2] - radii[n, :2]), 0).astype(int)
            high = np.ceil(centres[n, :2] + radii[n, :2]).astype(int) + 1
            box = tuple(map(slice, low, high))
            i, j = np.ogrid[box]
            far = ((i - centres[n, 0]) / radii[n, 0]) ** 2 + (
                (j - centres[n, 1]) / radii[n, 1]
            ) ** 2
            inside = (far < left[n])[: shape[0] - low[0], : shape[1] - low[1]]
            plane[box][inside], marks[box][inside] = levels[kinds[n]], kinds[n] + 1
        plane += rng.normal(0, NOISE_HU, shape[:2]).astype(np.float32)
        scan[..., k] = np.clip(np.rint(plane), -1024, 3071)
        if labels is not None:
            labels[..., k] = marks
    grid = Grid(shape, np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0]))
    return Volume(scan[None], grid), None if labels is None else Volume(labels[None], grid)


def main() -> None:
    from volunet.io.write import write

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 600))
    parser.add_argument("--structures", type=int, default=23)
    options = parser.parse_args()
    write(make(tuple(options.shape), options.structures)[0], options.path)


if __name__ == "__main__":
    main()
