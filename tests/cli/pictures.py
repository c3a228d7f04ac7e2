"""Scenes drawn from a seed: bright cells on noise, with masks of 0 and 255, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELL = 255


def draw_scene(seed: int, *, colours: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (row, column[, 3]) and its mask (row, column) of 0 and 255.

    Cells are few and lie anywhere, so that a mask that is turned or mirrored hardly meets them.
    """
    rng = np.random.default_rng(seed)
    rows, columns = 48 + 8 * int(rng.integers(3)), 64
    y, x = np.mgrid[:rows, :columns]
    image = rng.normal(70, 12, (rows, columns))
    mask = np.zeros((rows, columns), dtype=bool)
    for _ in range(3):
        cy, cx = rng.uniform(6, rows - 6), rng.uniform(6, columns - 6)
        a, b = rng.uniform(4, 7), rng.uniform(3, 5)
        mask |= ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
    image[mask] += 90
    if colours:
        shades = (1.0, 0.6, 0.8)
        image = np.stack([image * shade for shade in shades], axis=-1)
        image[~mask, 1] += 60
    return image.clip(0, 255).astype(np.uint8), (mask * CELL).astype(np.uint8)


def write_scenes(folder: Path, seeds: range, *, colours: bool) -> None:
    """`folder`/images and `folder`/labels, one PNG each a scene."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        image, mask = draw_scene(seed, colours=colours)
        Image.fromarray(image).save(folder / "images" / f"scene_{seed:02d}.png")
        Image.fromarray(mask).save(folder / "labels" / f"scene_{seed:02d}.png")
