"""Training on a budget, judged case by case against nnU-Net's own cross-validation.

Trains on fold 0 of nnU-Net's splits by the command, segments the held-out cases by the command,
and compares Dice case by case with nnU-Net's (conv, 1000 epochs on a data-centre GPU).

    python benchmarks/hippocampus.py --data DATASET --reference NNUNET --out RUN --budget 20m

DATASET has images/ and labels/; NNUNET has splits_final.json and per_case_validation.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from volunet.evaluation.interval import paired_difference

RESULTS = Path(__file__).parent / "results"
MODEL = "baseline_ConvolutionalEncoder"


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
    held_out = json.loads((options.reference / "splits_final.json").read_text())[0]["val"]
    out.mkdir(parents=True, exist_ok=True)
    scans = out / "scans.csv"
    rows = [f"{c},{(options.data / 'images' / c).resolve()}.nii.gz" for c in held_out]
    scans.write_text("\n".join(["case_id,image", *rows]) + "\n")
    splits = options.reference / "splits_final.json"
    run, masks, scores = out / "run", out / "masks", out / "scores"
    fold = ("--splits", splits, "--fold", "0", "--seed", str(options.seed))
    recipe = ("-r", options.recipe) if options.recipe else ()
    train_s = volunet("train", options.data, "-o", run, "--budget", options.budget, *fold, *recipe)
    train_gb = peak_gb()
    predict_s = volunet("predict", "-i", scans, "-m", run, "-o", masks)
    labels = options.data / "labels"
    volunet("evaluate", "-p", masks, "-r", labels, "-o", scores, "--only-predicted")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
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
    names = {"anterior": "1", "posterior": "2"}
    with metrics.open() as file:
        ours = {(r["case_id"], names[r["label"]]): float(r["dice"]) for r in csv.DictReader(file)}
    with (reference / "per_case_validation.csv").open() as file:
        table = [row for row in csv.DictReader(file) if row["model"] == MODEL]
    theirs = {(row["case"], row["label"]): float(row["Dice"]) for row in table}
    cases = sorted({case for case, _ in ours})
    mine = {c: float(np.mean([ours[c, n] for n in names.values()])) for c in cases}
    other = {c: float(np.mean([theirs[c, n] for n in names.values()])) for c in cases}
    difference = paired_difference(mine, other, np.random.default_rng(seed))
    return {
        "cases": len(cases),
        "ours": round(float(np.mean(list(mine.values()))), 4),
        "theirs": round(float(np.mean(list(other.values()))), 4),
        "difference": round(difference.mean, 4),
        "interval": [round(difference.low, 4), round(difference.high, 4)],
    }


if __name__ == "__main__":
    main()
