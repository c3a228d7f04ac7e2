"""What the benchmarks of inference look at: scans at clinical size, and a model with its patch.

python -m benchmarks.volumes list --data HEAD_NECK --splits RUN/splits.json --model RUN
python -m benchmarks.volumes ct --data HEAD_NECK --case kbp_001 --out WORK/ct
python -m benchmarks.volumes crops --data HEAD_NECK --cases kbp_201 kbp_202 --out WORK/crops
python -m benchmarks.volumes model --model RUN --patch 96 --out WORK/model
"""

from __future__ import annotations

import argparse
import json
import shutil
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volunet.io.read import read
from volunet.io.write import write
from volunet.packaging.model_file import load_weights, read_model_file, save_model
from volunet.packaging.model_place import find_model
from volunet.planning.plan import Plan
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.resample import resample, resample_labels
from volunet.space.volume import Volume

CLINICAL = (512, 512, 300)
SMALL_MM = 160
MARGIN_MM = 15
AIR_HU = -1024
EDGE_HU = -300
"""Between air and skin; what lies around the largest thing above it is air."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("list", "ct", "crops", "model"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--splits", type=Path)
    parser.add_argument("--case")
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--shape", type=int, nargs=3, default=CLINICAL)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.what == "list":
        list_cases(options.data, options.splits, options.model, options.patch)
    elif options.what == "ct":
        make_ct(options.data, options.case, tuple(options.shape), options.out)
    elif options.what == "crops":
        make_crops(options.data, options.cases, options.out)
    else:
        with_patch(options.model, options.patch, options.out)


def list_cases(data: Path, splits: Path, model: Path, patch: int) -> None:
    """Prints, for each case held out, its field of view and how many windows it would take."""
    plan = read_model_file(model).plan
    for case in json.loads(splits.read_text())["validation"]:
        scan, labels = (read(data / kind / f"{case}.nii.gz") for kind in ("images", "labels"))
        grid = clinical_grid(scan.grid, CLINICAL)
        seen = plan.grid_for(grid)
        there = sorted(int(n) for n in np.unique(labels.voxels) if n)
        spacing = " x ".join(f"{mm:.2f}" for mm in grid.spacing)
        print(f"{case}: {spacing} mm, labels {there}, windows {count(seen.shape, patch)}")


def count(shape: tuple[int, ...], patch: int, overlap: float = 0.5) -> int:
    """Windows that cover a grid."""
    stride = int(patch * (1 - overlap))
    return int(np.prod([max(ceil((n - patch) / stride), 0) + 1 for n in shape]))


def clinical_grid(grid: Grid, shape: tuple[int, int, int]) -> Grid:
    """The same field of view with the axes of a planning CT, slices last, and more voxels."""
    turned = grid.reoriented("LPS")
    zoom = np.array(turned.shape) / np.array(shape)
    affine = np.eye(4)
    affine[:3, :3] = turned.affine[:3, :3] * zoom
    corner = turned.to_world((-0.5, -0.5, -0.5))
    affine[:3, 3] = corner + affine[:3, :3] @ (0.5, 0.5, 0.5)
    return Grid(shape, affine)


def make_ct(data: Path, case: str, shape: tuple[int, int, int], out: Path) -> None:
    """Writes `ct/`, the scan over noisy air `noisy/`, its middle `small/`, and `labels/`."""
    scan, labels = (read(data / kind / f"{case}.nii.gz") for kind in ("images", "labels"))
    grid = clinical_grid(scan.grid, shape)
    seen = resample(scan.reoriented("LPS"), grid)
    voxels = np.rint(seen.voxels).astype(np.int16)
    reference = resample_labels(labels.reoriented("LPS"), grid)
    noisy = with_noisy_air(voxels[0], np.random.default_rng(0))[None]
    whole = Volume(voxels, grid)
    for kind, volume in (
        ("ct", whole),
        ("small", whole.crop(middle(grid, SMALL_MM))),
        ("noisy", Volume(noisy, grid)),
        ("labels", reference),
    ):
        (out / kind).mkdir(parents=True, exist_ok=True)
        write(volume, out / kind / f"{case}.nii.gz")


def make_crops(data: Path, cases: list[str], out: Path) -> None:
    """Writes a dataset of cases cut to the box round their structures and `MARGIN_MM` more."""
    for kind in ("images", "labels"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    shutil.copy(data / "labels.json", out)
    for case in cases:
        scan, labels = (read(data / kind / f"{case}.nii.gz") for kind in ("images", "labels"))
        at = np.argwhere(labels.voxels[0] > 0)
        margin = np.ceil(MARGIN_MM / np.array(scan.grid.spacing)).astype(int)
        low = np.maximum(at.min(0) - margin, 0).tolist()
        high = np.minimum(at.max(0) + 1 + margin, scan.grid.shape).tolist()
        box = Box(tuple(low), tuple(high))
        write(scan.crop(box), out / "images" / f"{case}.nii.gz")
        write(labels.crop(box), out / "labels" / f"{case}.nii.gz")


def middle(grid: Grid, side_mm: float) -> Box:
    """The box of this size in the middle of a grid."""
    sides = [min(round(side_mm / mm), n) for n, mm in zip(grid.shape, grid.spacing, strict=True)]
    start = tuple((n - side) // 2 for n, side in zip(grid.shape, sides, strict=True))
    return Box(start, tuple(a + side for a, side in zip(start, sides, strict=True)))


def with_noisy_air(voxels: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """The scan with an air that is neither constant nor even: noise of 25 HU, and a slow drift.

    Args:
        voxels: (I, J, K) in HU.
    """
    parts, found = ndimage.label(voxels > EDGE_HU)
    if not found:
        return voxels
    body = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    for k in range(body.shape[2]):  # lungs and airways are inside
        body[:, :, k] = ndimage.binary_fill_holes(body[:, :, k])
    noise = rng.normal(0, 25, voxels.shape).astype(np.float32)
    drift = 15 * np.sin(np.linspace(0, 9, voxels.shape[0], dtype=np.float32))[:, None, None]
    air = np.rint(AIR_HU + 24 + noise + drift).astype(np.int16)
    return np.where(body, voxels, air)


def with_patch(model: Path, patch: int, out: Path) -> None:
    """Writes a copy of a model that looks at windows of another size, half of one apart."""
    place = find_model(model)
    said = read_model_file(place)
    plan = Plan.model_validate(said.plan.model_dump() | {"patch": (patch,) * 3, "overlap": 0.5})
    save_model(
        out,
        load_weights(place, said)[0],
        name=said.name,
        plan=plan,
        fingerprint=said.fingerprint,
        training=said.training,
        licence=said.licence,
        intended_use=said.intended_use,
    )


if __name__ == "__main__":
    main()
