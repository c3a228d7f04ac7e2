"""Partial labels: what the marginal loss gives where some structures were drawn in some cases only.

    python -m benchmarks.partial --data HEAD_NECK_CT --work WORK --budget 40m

Head and neck CT, in which esophagus and larynx were contoured in some cases only. Two runs of equal
time, one after another, or at once with half of the cores each (`--at-once`): one is told what was
drawn, the other takes what was not drawn for background. Both are scored on the held-out cases,
each structure where it was drawn; and how much of the reference's right parotid is called left is
told as well. Started again, it goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.peers.measured import keep, processor, versions
from benchmarks.scores import read
from benchmarks.settings import VOLUNET
from volunet.evaluation.interval import paired_difference

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
RECIPE = ROOT / "pipelines" / "head_neck_ct.toml"
SOMETIMES = {"Esophagus": "esophagus", "Larynx": "larynx"}
"""Columns of the data's own table, in voxels, and the structures they count."""
SIDES = {"train-pats": "train", "validation-pats": "validation"}
KINDS = ("marginal", "ordinary")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="head_neck_ct")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--budget", default="40m", help="of each run")
    parser.add_argument("--set", action="append", default=[], help="of the recipe")
    parser.add_argument("--at-once", action="store_true", help="each on half of the cores")
    parser.add_argument("--out", type=Path, default=RESULTS / "partial.json")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    drawn = drawn_in(options.data)
    cores = sorted(os.sched_getaffinity(0))
    shares = [cores[n :: len(KINDS)] if options.at_once else cores for n in range(len(KINDS))]
    with ThreadPoolExecutor(len(KINDS) if options.at_once else 1) as pool:
        runs = [
            pool.submit(train, *told, drawn, options) for told in zip(KINDS, shares, strict=True)
        ]
        for run in runs:
            run.result()
    rows = {kind: score(kind, drawn, options) for kind in KINDS}
    facts = {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
    facts |= {"cores": len(shares[0]), "at_once": options.at_once, "versions": versions()}
    facts |= {"budget": options.budget, "rows": rows, "gain": gains(*rows.values())}
    keep(options.out, facts)
    print(table(facts))


def drawn_in(data: Path) -> dict[str, tuple[str, list[str]]]:
    """The side of each case, and the structures that were drawn in it."""
    names = list(json.loads((data / "labels.json").read_text())["labels"])
    found = {}
    with (data / "cases.csv").open() as file:
        for row in csv.DictReader(file):
            absent = {name for column, name in SOMETIMES.items() if row[column] == "0"}
            drawn = [name for name in names if name not in absent]
            found[row["case"]] = SIDES[row["official_split"]], drawn
    return found


def train(
    kind: str,
    cores: list[int],
    drawn: dict[str, tuple[str, list[str]]],
    options: argparse.Namespace,
) -> None:
    """One run, on these cores; nothing where it has ended."""
    words = ["train", write_table(kind, drawn, options), "-o", options.work / kind, "-r", RECIPE]
    words += ["--budget", options.budget]
    words += [word for change in options.set for word in ("--set", change)]
    on = ["taskset", "-c", ",".join(map(str, cores))]
    environment = os.environ | {"OMP_NUM_THREADS": str(len(cores))}
    subprocess.run([*on, VOLUNET, *map(str, words)], check=True, env=environment)


def score(kind: str, drawn: dict[str, tuple[str, list[str]]], options: argparse.Namespace) -> dict:
    """Dice of each structure in each held-out case that has it, and parotids confused."""
    run = options.work / kind
    dice: dict[str, dict[str, float]] = {}
    with (run / "validation" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            if row["label"] in drawn[row["case_id"]][1] and row["dice"]:
                dice.setdefault(row["label"], {})[row["case_id"]] = float(row["dice"])
    told = json.loads((run / "run.json").read_text())
    return {
        "steps": told["steps"],
        "threads": told["threads"],
        "budget_spent_s": told["budget_spent_s"],
        "dice": dice,
        "left_on_right": confused(run / "validation", options.data),
    }


def write_table(
    kind: str, drawn: dict[str, tuple[str, list[str]]], options: argparse.Namespace
) -> Path:
    """The cases as a table; only the marginal run is told what was drawn."""
    folder = options.work / f"{kind}_cases"
    folder.mkdir(exist_ok=True)
    told = (options.data / "labels.json").read_text()
    (folder / "labels.json").write_text(told)
    with (folder / "cases.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "image", "label", "split", "labelled"])
        for case, (side, names) in drawn.items():
            paths = [(options.data / k / f"{case}.nii.gz").resolve() for k in ("images", "labels")]
            rows.writerow([case, *paths, side, ";".join(names) if kind == "marginal" else ""])
    return folder / "cases.csv"


def confused(masks: Path, data: Path) -> dict[str, float]:
    """Dice of the predicted left parotid with the reference's right one, case by case."""
    values = json.loads((data / "labels.json").read_text())["labels"]
    left, right = values["parotid_left"], values["parotid_right"]
    found = {}
    for path in sorted(masks.glob("*.nii.gz")):
        said, true = read(path) == left, read(data / "labels" / path.name) == right
        whole = int(said.sum() + true.sum())
        found[path.name.removesuffix(".nii.gz")] = 2 * int((said & true).sum()) / max(whole, 1)
    return found


def gains(one: dict, other: dict) -> dict:
    """The paired difference of Dice, structure by structure, with its 95 % interval."""
    found = {}
    for name, mine in one["dice"].items():
        theirs = {case: dice for case, dice in other["dice"][name].items() if case in mine}
        gain = paired_difference({c: mine[c] for c in theirs}, theirs, np.random.default_rng(0))
        found[name] = [round(x, 4) for x in (gain.mean, gain.low, gain.high)]
    return found


def table(facts: dict) -> str:
    """The rows for the documentation."""
    lines = ["| structure | cases | told what was drawn | not told | paired difference |"]
    lines.append("|" + "---|" * 5)
    told, untold = (facts["rows"][kind] for kind in KINDS)
    for name, (gain, low, high) in facts["gain"].items():
        means = [float(np.mean(list(run["dice"][name].values()))) for run in (told, untold)]
        cases = len(told["dice"][name])
        cells = [
            name,
            cases,
            *(f"{m:.4f}" for m in means),
            f"{gain:+.4f} ({low:.4f} to {high:.4f})",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    worst = max(told["left_on_right"].values())
    return "\n".join([*lines, "", f"Left called on the right parotid: Dice {worst:.3f} at most."])


if __name__ == "__main__":
    main()
