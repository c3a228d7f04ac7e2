"""Training on a budget, judged case by case against nnU-Net's own cross-validation.

Trains on a fold of nnU-Net's splits (0) by the command, segments the held-out cases by the command,
and compares Dice case by case with nnU-Net's (conv, 1000 epochs on a data-centre GPU).

    python -m benchmarks.hippocampus --data DATASET --reference NNUNET --out RUN --budget 20m

DATASET has images/ and labels/; NNUNET has splits_final.json and per_case_validation.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.peers.measured import processor
from volunet.evaluation.interval import paired_difference

RESULTS = Path(__file__).parent / "results"
MODEL = "baseline_ConvolutionalEncoder"
PARTS = 2
"""Of the hippocampus: anterior and posterior."""


def main() -> None:
    options = read_options()
    result = measure(options)
    text = json.dumps(result, indent=2) + "\n"
    (options.out / "result.json").write_text(text)
    if options.keep:
        (RESULTS / f"hippocampus_{options.keep}.json").write_text(text)
    print(text)


def measure(options: argparse.Namespace) -> dict:
    """Trains, segments and compares; goes on where it stopped."""
    out = options.out
    folds = json.loads((options.reference / "splits_final.json").read_text())
    held_out = folds[options.fold]["val"]
    out.mkdir(parents=True, exist_ok=True)
    scans = out / "scans.csv"
    rows = [f"{c},{(options.data / 'images' / c).resolve()}.nii.gz" for c in held_out]
    scans.write_text("\n".join(["case_id,image", *rows]) + "\n")
    splits = options.reference / "splits_final.json"
    run, masks, scores = out / "run", out / "masks", out / "scores"
    fold = ("--splits", splits, "--fold", str(options.fold), "--seed", str(options.seed))
    recipe = ("-r", options.recipe) if options.recipe else ()
    train_s = volunet("train", options.data, "-o", run, "--budget", options.budget, *fold, *recipe)
    train_gb = peak_gb()
    predict_s = volunet("predict", "-i", scans, "-m", run, "-o", masks)
    labels = options.data / "labels"
    volunet("evaluate", "-p", masks, "-r", labels, "-o", scores, "--only-predicted")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "fold": options.fold,
        "budget": options.budget,
        "seed": options.seed,
        "train_wall_s": round(train_s, 1),
        "train_peak_gb": round(train_gb, 2),
        "predict_wall_s": round(predict_s, 1),
        "run": take(json.loads((run / "run.json").read_text())),
        "scores": means(json.loads((scores / "summary.json").read_text())),
        "nnunet": compare(scores / "metrics.csv", options.reference, options.seed),
    }


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="name under benchmarks/results")
    return parser.parse_args()


def volunet(*arguments: object) -> float:
    """Runs the command and gives its seconds."""
    started = time.monotonic()
    words = [sys.executable, "-m", "volunet.cli.main", *map(str, arguments)]
    subprocess.run(words, check=True)
    return time.monotonic() - started


def peak_gb() -> float:
    """Largest resident memory of any command so far, 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def take(record: dict) -> dict:
    """What a run says of itself that belongs in the table."""
    return {k: record[k] for k in ("steps", "budget_spent_s", "step_s", "drawing_share", "threads")}


def means(summary: dict) -> dict:
    """Mean scores by structure."""
    rows = {**summary["labels"], "mean": summary["mean_over_labels"]}
    measures = ("dice", "hd95_mm", "nsd", "assd_mm")
    return {name: {m: round(row[m]["mean"], 4) for m in measures} for name, row in rows.items()}


def compare(metrics: Path, reference: Path, seed: int) -> dict:
    """Mean Dice of both over the same cases, and their paired difference with its interval."""
    mine = dice_of(metrics)
    return {"cases": len(mine), **against(mine, reference, seed)}


def dice_of(metrics: Path) -> dict[str, float]:
    """Mean Dice of both parts, case by case."""
    with metrics.open() as file:
        return _means((row["case_id"], float(row["dice"])) for row in csv.DictReader(file))


def against(mine: dict[str, float], reference: Path, seed: int) -> dict:
    """Means over the cases of `mine`, of nnU-Net too, and their difference with its interval."""
    with (reference / "per_case_validation.csv").open() as file:
        table = [row for row in csv.DictReader(file) if row["model"] == MODEL]
    theirs = _means((row["case"], float(row["Dice"])) for row in table if row["case"] in mine)
    difference = paired_difference(mine, theirs, np.random.default_rng(seed))
    return {
        "ours": round(float(np.mean(list(mine.values()))), 4),
        "theirs": round(float(np.mean(list(theirs.values()))), 4),
        "difference": round(difference.mean, 4),
        "interval": [round(difference.low, 4), round(difference.high, 4)],
    }


def _means(told: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of what is told of each case, of its two parts, in the order of their names."""
    found: dict[str, list[float]] = {}
    for case, dice in told:
        found.setdefault(case, []).append(dice)
    if any(len(parts) != PARTS for parts in found.values()):
        raise ValueError(f"Not every case has {PARTS} scores.")
    return {case: float(np.mean(found[case])) for case in sorted(found)}


if __name__ == "__main__":
    main()
