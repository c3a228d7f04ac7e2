"""Drawn scenes to enlarge: cells or roads with sharp edges and textures, whole and at half size.

    python -m benchmarks.scenes OUT --count 100 --first 0 --seed 0

Writes a dataset: OUT/targets, grey PNGs of 128 x 128, and OUT/images, the mean of each 2 x 2 of
their pixels. A scene is drawn four times as fine and averaged, as a camera does. Every scene has a
random stream of its own: scene 7 is the same whichever others are made. Nothing is photographed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from volunet.io.write import write
from volunet.space.picture import picture_grid
from volunet.space.volume import Volume

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

SIZE, FINE = 128, 4
COUNT = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    which = range(options.first, options.first + options.count)
    write_scenes(options.out, which, seed=options.seed)


def write_scenes(out: Path, which: Iterable[int], *, seed: int = 0) -> None:
    """Writes the scenes of these numbers as a dataset; labels.json last."""
    for kind in ("images", "targets"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    for number in which:
        target = scene(np.random.default_rng([seed, number]))
        name = f"scene_{number:03d}.png"
        write_grey(target, out / "targets" / name)
        write_grey(whole(block_mean(target, 2)), out / "images" / name)
    told = {"channels": ["grey"], "targets": ["grey"]}
    (out / "labels.json").write_text(json.dumps(told) + "\n")


def write_grey(pixels: Pixels, path: Path) -> None:
    """Writes (columns, rows) as a grey PNG."""
    write(Volume(pixels[None, :, :, None], picture_grid(*pixels.shape)), path)


def whole(values: Floats) -> Pixels:
    """Rounded to what 8 bits hold."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def block_mean(values: NDArray[np.generic], by: int) -> Floats:
    """The mean of each `by` x `by` values."""
    i, j = (n // by for n in values.shape)
    return np.asarray(values.reshape(i, by, j, by).mean(axis=(1, 3), dtype=np.float64))


def scene(rng: np.random.Generator) -> Pixels:
    """A new scene, (SIZE, SIZE)."""
    drawn = rng.uniform(60, 110) + texture(rng, grain_px=rng.uniform(1, 4), spread=6)
    drawn = draw_cells(drawn, rng) if rng.random() < 0.5 else draw_roads(drawn, rng)
    return whole(block_mean(drawn, FINE))


def points() -> tuple[Floats, Floats]:
    """Where the fine pixels lie, in pixels of the scene: (N, 1) and (1, N)."""
    along = (np.arange(SIZE * FINE) + 0.5) / FINE
    return along[:, None], along[None]


def texture(rng: np.random.Generator, *, grain_px: float, spread: float) -> Floats:
    """Grains of about this size and standard deviation."""
    noise = gaussian_filter(rng.normal(size=(SIZE * FINE,) * 2), grain_px * FINE / 2, mode="wrap")
    return np.asarray(spread * noise / noise.std())


def draw_cells(drawn: Floats, rng: np.random.Generator) -> Floats:
    """Ellipses with a bright wall, grains inside and a dark nucleus."""
    grains = texture(rng, grain_px=1.5, spread=12)
    for _ in range(rng.integers(8, 15)):
        x, y = turned(rng.uniform(0, SIZE, 2), rng.uniform(0, np.pi))
        wide, high = rng.uniform(8, 22, 2)
        far = np.hypot(x / wide, y / high)
        level = rng.uniform(110, 190)
        drawn = np.where(far < 1, level + grains, drawn)
        drawn = np.where((far < 1) & (far > 1 - 2 / min(wide, high)), level + 50, drawn)
        drawn = np.where(far < rng.uniform(0.2, 0.4), rng.uniform(20, 60), drawn)
    return drawn


def draw_roads(drawn: Floats, rng: np.random.Generator) -> Floats:
    """Houses with striped roofs, and bent roads over them with dashes along their middle."""
    for _ in range(rng.integers(8, 15)):
        x, y = turned(rng.uniform(0, SIZE, 2), rng.uniform(0, np.pi))
        wide, high = rng.uniform(6, 16, 2)
        stripes = 15 * np.sign(np.sin(2 * np.pi * x / rng.uniform(3, 6)))
        inside = (abs(x) < wide) & (abs(y) < high)
        drawn = np.where(inside, rng.uniform(100, 200) + stripes, drawn)
    for _ in range(rng.integers(2, 5)):
        x, y = turned(rng.uniform(0, SIZE, 2), rng.uniform(0, np.pi))
        off = y - rng.uniform(2, 8) * np.sin(x / rng.uniform(12, 30))
        width, level = rng.uniform(4, 9), rng.uniform(30, 60)
        drawn = np.where(abs(off) < width, level, drawn)
        drawn = np.where(abs(abs(off) - width) < 0.5, 220, drawn)
        drawn = np.where((abs(off) < 0.6) & (x % 8 < 4), 240, drawn)
    return drawn


def turned(centre: Floats, angle_rad: float) -> tuple[Floats, Floats]:
    """The points as seen from `centre`, along axes that are turned by this angle."""
    x, y = points()
    x, y = x - centre[0], y - centre[1]
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return x * cos + y * sin, y * cos - x * sin


if __name__ == "__main__":
    main()
