"""A table of few cases to train on and many to score: does a start from another model help?

    python -m benchmarks.few --data HIPPOCAMPUS --splits splits_final.json --cases 5 --out FEW.csv
    python -m benchmarks.recipes --data FEW.csv --recipe pipelines/hippocampus_mr.toml \\
        --work WORK --group few --from RUN_OF_SOMETHING_ELSE --budget 5m --keep few_hippocampus

The cases are drawn by the seed from those that fold 0 trains on; all that it holds out are scored.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    fold = json.loads(options.splits.read_text())[0]
    rng = np.random.default_rng(options.seed)
    few = sorted(rng.choice(sorted(fold["train"]), options.cases, replace=False).tolist())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(options.data / "labels.json", options.out.parent / "labels.json")
    sides = [(few, "train"), (fold["val"], "validation")]
    with options.out.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "image", "label", "split"])
        for cases, side in sides:
            for case in cases:
                paths = [options.data / k / f"{case}.nii.gz" for k in ("images", "labels")]
                rows.writerow([case, *(path.resolve() for path in paths), side])
    print(f"{len(few)} cases to train on, {len(fold['val'])} to score: {options.out}")


if __name__ == "__main__":
    main()
