"""Denoising of MR by regression, beside filters that know nothing of MR, case by case.

    python -m benchmarks.denoise --data SARCOMA_MR --work WORK --budget 10m

Adds Rician noise to real scans (pipelines/add_noise.py), trains by the command on fold 0, gives the
held-out noisy scans to `volunet predict`, and scores them with `volunet evaluate --values`: as they
are, predicted, smoothed by a Gaussian whose width is the best one for the training scans, and by a
median of 3 x 3 x 3 voxels. Neither filter takes away what Rician noise adds in air, which a network
learns to. The clean scans have noise of their own, which nobody can know. A picture goes to WORK,
as patients are in it. Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

import volunet as vn
from benchmarks.peers.measured import keep
from benchmarks.values import (
    OURS,
    Panel,
    beside,
    draw,
    facts_of,
    middle_case,
    score,
    set_aside,
    table,
    volunet,
)

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
RECIPE = ROOT / "pipelines" / "denoise.toml"
FOLDS = 3
WIDTHS_MM = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0)
"""Standard deviations of the Gaussian that are tried."""
END = ".nii.gz"


def main() -> None:
    options = read_options()
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    dataset = make_dataset(options)
    train, held_out = write_splits(dataset, work / "splits.json")
    set_aside(dataset, [case + END for case in held_out], work / "held_out")
    budget = ("--budget", options.budget, "--seed", options.seed)
    fold = ("--splits", work / "splits.json", "--fold", 0)
    volunet("train", dataset, "-o", work / "run", "-r", RECIPE, *budget, *fold)
    noisy, clean = (work / "held_out" / kind for kind in ("images", "targets"))
    volunet("predict", "-i", noisy, "-m", work / "run", "-o", work / OURS)
    width_mm = best_width(dataset, train)
    gaussian, median = f"Gaussian, {width_mm:g} mm", "median, 3 x 3 x 3"
    filtered(noisy, work / "gaussian", lambda scan: smooth(scan, width_mm))
    filtered(noisy, work / "median", lambda scan: median_filter(scan.voxels, (1, 3, 3, 3)))
    folders = {"noisy": noisy, gaussian: work / "gaussian", median: work / "median"}
    folders[OURS] = work / OURS
    scores = {name: score(at, clean, work / "scores" / at.name) for name, at in folders.items()}
    facts = facts_of(work / "run", ["scipy"])
    facts |= {"budget": options.budget, "seed": options.seed, "sd": options.sd}
    facts |= {"trained_on": len(train), "gaussian_mm": width_mm, **beside(scores)}
    keep(options.out, facts)
    picture(work, middle_case(scores[OURS]))
    print(table(facts))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="sarcoma_mr")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--sd", type=float, default=0.1, help="of the noise, see add_noise.py")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "denoise.json")
    return parser.parse_args()


def make_dataset(options: argparse.Namespace) -> Path:
    """Noisy and clean scans; nothing where that was done."""
    dataset: Path = options.work / "dataset"
    if not (dataset / "labels.json").exists():  # which is written last
        script = ROOT / "pipelines" / "add_noise.py"
        words = [script, options.data / "images", dataset, "--sd", options.sd]
        subprocess.run([sys.executable, *map(str, [*words, "--seed", options.seed])], check=True)
    return dataset


def write_splits(dataset: Path, path: Path) -> tuple[list[str], list[str]]:
    """Writes one case in `FOLDS` a fold, and gives the two sides of fold 0.

    Raises:
        ValueError: a patient is there twice.
    """
    cases = sorted(file.name.removesuffix(END) for file in (dataset / "images").glob("*" + END))
    patients = [patient(case) for case in cases]
    if twice := {name for name in patients if patients.count(name) > 1}:
        raise ValueError(f"These patients are there twice: {sorted(twice)}.")
    folds = []
    for first in range(FOLDS):
        held_out = cases[first::FOLDS]
        folds.append({"train": [c for c in cases if c not in held_out], "val": held_out})
    path.write_text(json.dumps(folds, indent=1) + "\n")
    return folds[0]["train"], folds[0]["val"]


def patient(case: str) -> str:
    """The patient's number: sts_001 of all modalities is one patient."""
    return case.split("_")[1]


def smooth(scan: vn.Volume, width_mm: float) -> NDArray[np.float32]:
    """The scan's voxels after a Gaussian of this standard deviation along every axis."""
    return gaussian_filter(scan.voxels, (0, *(width_mm / np.array(scan.grid.spacing))))


def best_width(dataset: Path, cases: Iterable[str]) -> float:
    """The width of the Gaussian with the highest mean PSNR over these cases.

    The range that a PSNR is taken of moves all widths of a case alike, so it does not matter here.
    """
    logs = []
    for case in cases:
        noisy, clean = (vn.read(dataset / kind / (case + END)) for kind in ("images", "targets"))
        errors = [smooth(noisy, width) - clean.voxels for width in WIDTHS_MM]
        logs.append([np.log(np.mean(np.square(error))) for error in errors])
    return WIDTHS_MM[int(np.mean(logs, axis=0).argmin())]


def filtered(scans: Path, out: Path, how: Callable[[vn.Volume], NDArray[np.float32]]) -> None:
    """Writes every scan of a folder after a filter."""
    out.mkdir(exist_ok=True)
    for path in sorted(scans.glob("*" + END)):
        scan = vn.read(path)
        vn.write(scan.with_voxels(how(scan)), out / path.name)


def picture(work: Path, case: str) -> None:
    """Draws the middle axial plane: noisy, denoised, clean, and what the first two miss it by."""
    held_out = work / "held_out"
    folders = (held_out / "images", work / OURS, held_out / "targets")
    noisy, denoised, clean = (middle_plane(vn.read(f / (case + END))) for f in folders)
    window = (0.0, float(np.quantile(clean, 0.995)))
    errors = (-window[1] / 4, window[1] / 4)
    panels = [
        Panel("noisy", noisy, window),
        Panel("volunet", denoised, window),
        Panel("clean", clean, window),
        Panel("noisy - clean", noisy - clean, errors, "RdBu_r"),
        Panel("volunet - clean", denoised - clean, errors, "RdBu_r"),
    ]
    draw([panels], work / "denoise.png")


def middle_plane(scan: vn.Volume) -> NDArray[np.float32]:
    """Its middle axial plane: the front is up, the patient's right on the left."""
    upright = scan.reoriented("RAS").voxels[0]
    return upright[::-1, ::-1, upright.shape[2] // 2].T


if __name__ == "__main__":
    main()
