"""Pictures with twice as many rows and columns by regression, beside bicubic interpolation.

    python -m benchmarks.superres --work WORK --budget 5m

Draws scenes (benchmarks/scenes.py): 100 to train on and 20 others, trains by the command, enlarges
the others with `volunet predict` from a folder of PNGs, and scores them with `volunet evaluate
--values`, as it scores bicubic interpolation of the same pictures: torch's, whose constant is
-0.75, and Pillow's, with -0.5, where it is installed. Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

import volunet as vn
from benchmarks.peers.measured import keep
from benchmarks.scenes import Pixels, whole, write_grey, write_scenes
from benchmarks.values import (
    OURS,
    Panel,
    Scores,
    beside,
    draw,
    facts_of,
    middle_case,
    score,
    table,
    volunet,
)

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
RECIPE = ROOT / "pipelines" / "superres_2d.toml"
TRAINED_ON, HELD_OUT = range(100), range(100, 120)
TORCH, PILLOW = "bicubic (torch)", "bicubic (Pillow)"
FACTOR = 2


def main() -> None:
    options = read_options()
    work = options.work
    for name, which in (("dataset", TRAINED_ON), ("held_out", HELD_OUT)):
        if not (work / name / "labels.json").exists():  # which is written last
            write_scenes(work / name, which, seed=options.seed)
    budget = ("--budget", options.budget, "--seed", options.seed)
    volunet("train", work / "dataset", "-o", work / "run", "-r", RECIPE, *budget)
    small, truth = (work / "held_out" / kind for kind in ("images", "targets"))
    volunet("predict", "-i", small, "-m", work / "run", "-o", work / OURS)
    folders = {TORCH: enlarged(small, work / "torch", by_torch)}
    if find_spec("PIL"):
        folders[PILLOW] = enlarged(small, work / "pillow", by_pillow)
    folders[OURS] = work / OURS
    scores = {name: score(at, truth, work / "scores" / at.name) for name, at in folders.items()}
    facts = facts_of(work / "run", ["pillow"] if PILLOW in folders else [])
    facts |= {"budget": options.budget, "seed": options.seed, "trained_on": len(TRAINED_ON)}
    facts |= beside(scores)
    keep(options.out, facts)
    picture(work, scores, options.picture)
    print(table(facts))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "superres.json")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "superres.png")
    return parser.parse_args()


def enlarged(small: Path, out: Path, how: Callable[[Pixels], Pixels]) -> Path:
    """Writes every picture of a folder, enlarged, and gives the folder."""
    out.mkdir(exist_ok=True)
    for path in sorted(small.glob("*.png")):
        write_grey(how(read_grey(path)), out / path.name)
    return out


def read_grey(path: Path) -> Pixels:
    """The pixels (columns, rows) of a grey picture."""
    return vn.read(path).voxels[0, :, :, 0]


def by_torch(pixels: Pixels) -> Pixels:
    values = torch.from_numpy(pixels.astype(np.float32))[None, None]
    return whole(interpolate(values, scale_factor=FACTOR, mode="bicubic")[0, 0].double().numpy())


def by_pillow(pixels: Pixels) -> Pixels:
    from PIL import Image

    columns, rows = (FACTOR * n for n in pixels.shape)
    drawn = Image.fromarray(np.ascontiguousarray(pixels.T))
    return np.asarray(drawn.resize((columns, rows), Image.Resampling.BICUBIC)).T


def picture(work: Path, scores: dict[str, Scores], path: Path) -> None:
    """Draws the scene of median PSNR, whole and its middle: small, bicubic, ours and the truth."""
    case = middle_case(scores[OURS])
    held_out = work / "held_out"
    folders = {"image": held_out / "images", TORCH: work / "torch", OURS: work / OURS}
    folders["truth"] = held_out / "targets"
    rows: list[list[Panel]] = [[], []]
    for name, folder in folders.items():
        pixels = read_grey(folder / f"{case}.png").T
        psnr = f", {scores[name][case]['psnr_db']:.1f} dB" if name in scores else ""
        rows[0].append(Panel(name + psnr, pixels, (0, 255)))
        rows[1].append(Panel("", middle(pixels), (0, 255)))
    draw(rows, path)


def middle(pixels: Pixels) -> Pixels:
    """The middle third of the rows and columns."""
    rows, columns = pixels.shape
    return pixels[rows // 3 : -(rows // 3), columns // 3 : -(columns // 3)]


if __name__ == "__main__":
    main()
