"""Volumes of all structures in a folder of scans, as a table and a plot.

python pipelines/volumes.py MODEL SCANS volumes.csv volumes.png
"""

import csv
import sys
from pathlib import Path

from matplotlib.figure import Figure

import volunet as vn


def main(model: str, scans: str, table: str, plot: str) -> None:
    segment = vn.load(model)
    labels = segment.plan.labels
    rows = []
    for path in sorted(Path(scans).glob("*.nii.gz")):
        mask = segment(vn.read(path)).labels
        ml = [mask.grid.voxel_ml * int((mask.voxels == value).sum()) for value in labels.values]
        rows.append((path.name.removesuffix(".nii.gz"), *ml))
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("case_id", *labels.names), *rows])
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(list(zip(*rows, strict=True))[1:], tick_labels=list(labels.names))
    axes.set_ylabel("volume (ml)")
    figure.savefig(plot, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
