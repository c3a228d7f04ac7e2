"""Dice of masks against reference labels, and against another tool's masks.

python -m benchmarks.scores --masks A_1 B_1 --references LABELS --peer A_1 --json scores.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.measured import keep

Scores = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=Path, nargs="+", required=True)
    parser.add_argument("--references", type=Path, required=True)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    told = {}
    for folder in options.masks:
        told[folder.name] = {"dice": mean_dice(folder, options.references)}
        if options.peer:
            told[folder.name]["dice_to_peer"] = mean_dice(folder, options.peer)
    keep(options.json, told)


def mean_dice(masks: Path, references: Path) -> Scores:
    """Mean Dice of each label over the masks in a folder; cases without a label do not count."""
    found: dict[str, list[float]] = {}
    for mask in sorted(masks.glob("*.nii.gz")):
        for label, value in dice(read(mask), read(references / mask.name)).items():
            found.setdefault(label, []).append(value)
    means = {label: round(float(np.mean(values)), 5) for label, values in sorted(found.items())}
    return means | {"mean": round(float(np.mean(list(means.values()))), 5)} if means else {}


def dice(mask: NDArray[np.uint8], reference: NDArray[np.uint8]) -> Scores:
    """Dice of each label that the reference holds, by the label's value."""
    if mask.shape != reference.shape:
        raise ValueError(f"The mask has {mask.shape} voxels, the reference {reference.shape}.")
    size = 256
    held = np.bincount(reference.ravel(), minlength=size)
    said = np.bincount(mask.ravel(), minlength=size)
    both = np.bincount(mask[mask == reference].ravel(), minlength=size)
    labels = [label for label in range(1, size) if held[label]]
    return {str(n): float(2 * both[n] / (held[n] + said[n])) for n in labels}


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(nib.load(path).dataobj).astype(np.uint8)


if __name__ == "__main__":
    main()
