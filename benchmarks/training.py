"""Dice against minutes: volunet's budgets beside nnU-Net's own trainer on the same processors.

    python -m benchmarks.training --data HIPPOCAMPUS --reference NNUNET --work WORK \\
        --runs 5m:0 5m:1 20m:0 --nnunet-python PYTHON --nnunet-minutes 20

Fold 0 of nnU-Net's own splits: 162 cases to train on, 38 held out, segmented with the defaults and
without mirroring by both. nnU-Net trains by its own trainer and plan (features 32 to 256), its
polynomial schedule shortened to as many steps as fit the minutes, in 20 epochs; its published
cross-validation (1000 epochs on a GPU, with mirroring) is what both are compared with, case by
case. Each run is a process of its own, one after another; started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import hippocampus
from benchmarks.peers.measured import keep, processor, versions
from benchmarks.peers.nnunet_models import PLANS, SET, Sizes, Tool, make_raw
from benchmarks.runs import limit_to

RESULTS = Path(__file__).parent / "results"
RECIPE = Path(__file__).parents[1] / "pipelines" / "hippocampus_mr.toml"
EARLIER = ("volunet", "volunet, rate falls", "volunet, not mirrored", "volunet, plain blocks")
"""The recipe as it is, and as it was before: before its rate stayed, and so on."""
EPOCHS, TRAINER = 20, "nnUNetTrainer_20epochs"
NNUNET = Sizes(batch=9, features=(32, 64, 128, 256))
"""nnU-Net's own plan of this set."""
SHORT = """
import json, os, time
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.run.run_training import run_training_entry

begin, end, started = nnUNetTrainer.on_train_start, nnUNetTrainer.on_train_end, []

def begin_shortly(self):
    begin(self)
    self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = {steps}, 1
    started.append(time.perf_counter())

def tell(self):
    seconds = time.perf_counter() - started[0]
    end(self)
    with open({path!r} + ".part", "w") as file:
        json.dump({{"seconds": seconds}}, file)
    os.replace({path!r} + ".part", {path!r})

nnUNetTrainer.on_train_start, nnUNetTrainer.on_train_end = begin_shortly, tell
run_training_entry()
"""


def main() -> None:
    options = read_options()
    limit_to(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    rows = [ours(run, options) for run in options.runs]
    if options.nnunet_python:
        rows.append(theirs(options))
    rows = sorted([*earlier(rows, options.out), *rows], key=place)
    facts = {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
    facts |= {"threads": options.threads, "versions": versions(), "rows": rows}
    keep(options.out, facts)
    print(table(facts))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--runs", nargs="*", default=["5m:0", "5m:1", "20m:0", "20m:1", "80m:0"])
    parser.add_argument("--nnunet-python", type=Path)
    parser.add_argument("--nnunet-minutes", type=float, default=20)
    parser.add_argument("--nnunet-step-s", type=float, default=11.05, help="benchmarks.steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "training.json")
    options = parser.parse_args()
    for name in ("data", "reference", "work"):
        setattr(options, name, getattr(options, name).absolute())
    return options


def earlier(rows: list[dict], out: Path) -> list[dict]:
    """Rows that an earlier start kept, maybe elsewhere, of runs that are not among `rows`."""
    before = json.loads(out.read_text())["rows"] if out.exists() else []
    anew = {(row["tool"], row["run"]) for row in rows}
    return [row for row in before if (row["tool"], row["run"]) not in anew]


def place(row: dict) -> tuple[int, float, str]:
    """volunet's first, then its own earlier ones, then peers; by minutes and seed."""
    minutes, _, seed = row["run"].partition("m")
    rank = EARLIER.index(row["tool"]) if row["tool"] in EARLIER else len(EARLIER)
    return rank, float(minutes), seed


def ours(run: str, options: argparse.Namespace) -> dict:
    """The row of a budget and a seed."""
    kept = options.work / f"volunet_{run.replace(':', '_')}.json"
    if not kept.exists():
        budget, seed = run.split(":")
        told = {"data": options.data, "reference": options.reference, "recipe": options.recipe}
        told |= {"out": options.work / f"volunet_{budget}_{seed}", "budget": budget, "fold": 0}
        made = hippocampus.measure(argparse.Namespace(**told, seed=int(seed), keep=None))
        record = made.pop("run")
        keep(
            kept,
            {"tool": "volunet", "run": run, "steps": record["steps"], **made, "record": record},
        )
    return json.loads(kept.read_text())


def theirs(options: argparse.Namespace) -> dict:
    """nnU-Net's row."""
    kept = options.work / "nnunet.json"
    if not kept.exists():
        folder, (planner, plans) = options.work / "nnunet", PLANS["plain"]
        steps = max(round(60 * options.nnunet_minutes / options.nnunet_step_s / EPOCHS), 1)
        make_raw(options.data, folder / "raw" / SET)
        tool = Tool(options.nnunet_python.absolute().parent, folder)
        tool.prepare(planner, plans, options.reference / "splits_final.json", NNUNET)
        ended = folder / "ended.json"
        if not ended.exists():
            code = SHORT.format(steps=steps, path=str(ended))
            tool.run_until(ended, code, plans, TRAINER)
        made = score(tool, folder, plans, options)
        seconds = json.loads(ended.read_text())["seconds"]
        told = {"tool": "nnU-Net", "run": f"{options.nnunet_minutes:g}m", "steps": steps * EPOCHS}
        told |= {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
        keep(kept, {**told, "seconds": round(seconds, 1), **made})
    return json.loads(kept.read_text())


def score(tool: Tool, folder: Path, plans: str, options: argparse.Namespace) -> dict:
    """nnU-Net's masks of the held-out cases, by its own command, and what they are worth."""
    held_out = json.loads((options.reference / "splits_final.json").read_text())[0]["val"]
    scans, masks, scores = (folder / name for name in ("scans", "masks", "scores"))
    shutil.rmtree(scans, ignore_errors=True)
    scans.mkdir()
    for case in held_out:
        path = options.data / "images" / f"{case}.nii.gz"
        (scans / f"{case}_0000.nii.gz").symlink_to(path.resolve())
    words = ["-i", str(scans), "-o", str(masks), "-d", "4", "-c", "3d_fullres", "-f", "0"]
    words += ["-tr", TRAINER, "-p", plans, "-device", "cpu", "--disable_tta"]
    started = time.monotonic()
    command = [str(tool.commands / "nnUNetv2_predict"), *words]
    subprocess.run(command, check=True, env=tool.environment, stdout=subprocess.DEVNULL)
    took = time.monotonic() - started
    for extra in masks.glob("*.json"):
        extra.unlink()
    labels = options.data / "labels"
    hippocampus.volunet("evaluate", "-p", masks, "-r", labels, "-o", scores, "--only-predicted")
    return {
        "predict_wall_s": round(took, 1),
        "scores": hippocampus.means(json.loads((scores / "summary.json").read_text())),
        "nnunet": hippocampus.compare(scores / "metrics.csv", options.reference, 0),
    }


def table(facts: dict) -> str:
    """The rows for the documentation."""
    head = ["trained by", "budget, seed", "steps", "anterior", "posterior", "mean Dice"]
    head += ["difference to nnU-Net, 1000 epochs on a GPU", "measured on"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in facts["rows"]:
        told = row["nnunet"]
        low, high = told["interval"]
        parts = [row["scores"][name]["dice"] for name in row["scores"] if name != "mean"]
        alone = ", one core" * (row.get("cores") == 1)
        cells = [row["tool"] + alone, row["run"].replace(":", ", "), row["steps"]]
        cells += [*(f"{dice:.4f}" for dice in parts), f"{told['ours']:.4f}"]
        cells += [f"{told['difference']:+.4f} ({low:.4f} to {high:.4f})"]
        cells += [f"{row['date']}, {row['processor']}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
