"""Seconds of a training step, augmentation included: volunet, nnU-Net's trainer, a MONAI loop.

    python -m benchmarks.steps --nnunet-python PYTHON --data HIPPOCAMPUS \\
        --splits splits_final.json --work WORK

One network, patch and batch for all three: nnU-Net's own plan of the hippocampus, and a smaller
one. Each trains in a process of its own on the same processors, one after another; the first steps
are left out. nnU-Net supervises coarser scales too, as it always does; the others do not.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers.measured import keep, processor, versions
from benchmarks.peers.nnunet_models import PLANS, SET, Sizes, Tool, make_raw
from benchmarks.runs import limit_to, python
from benchmarks.settings import VOLUNET

RESULTS = Path(__file__).parent / "results"
SIZES = {
    "nnU-Net's plan": (Sizes(batch=9, features=(32, 64, 128, 256)), 12),
    "smaller": (Sizes(), 60),
}
"""What is trained, and how many steps of it."""
FIRST = 4  # steps that are left out
TIMED = """
import json, os, time
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.run.run_training import run_training_entry

begin, step, ends = nnUNetTrainer.on_train_start, nnUNetTrainer.train_step, []

def begin_shortly(self):
    begin(self)
    self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = {steps}, 1

def timed(self, batch):
    out = step(self, batch)
    ends.append(time.perf_counter())
    if len(ends) == {steps}:
        with open({path!r} + ".part", "w") as file:
            json.dump({{"ends": ends}}, file)
        os.replace({path!r} + ".part", {path!r})
    return out

nnUNetTrainer.on_train_start, nnUNetTrainer.train_step = begin_shortly, timed
run_training_entry()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnunet-python", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="hippocampus")
    parser.add_argument("--splits", type=Path, required=True, help="nnU-Net's splits_final.json")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "steps.json")
    options = parser.parse_args()
    for name in ("nnunet_python", "data", "splits", "work"):
        setattr(options, name, getattr(options, name).absolute())
    limit_to(options.threads)
    rows = {name: measure(*told, options) for name, told in SIZES.items()}
    facts = {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
    facts |= {"threads": options.threads, "versions": versions(), "rows": rows}
    keep(options.out, facts)
    print(table(facts))


def measure(sizes: Sizes, steps: int, options: argparse.Namespace) -> dict:
    """Seconds of a step for each tool."""
    folder = options.work / f"batch_{sizes.batch}"
    folder.mkdir(parents=True, exist_ok=True)
    nnunet, monai = folder / "nnunet.json", folder / "monai.json"
    run = train_volunet(sizes, steps, folder, options)
    if not nnunet.exists():
        train_nnunet(sizes, steps, nnunet, folder, options)
    if not monai.exists():
        words = ["--data", options.data, "--plan", run / "plan.json", "--steps", steps]
        python("benchmarks.peers.monai_training", *words, "--json", monai)
    with (run / "history.csv").open() as file:
        ends = [float(row["seconds"]) for row in csv.DictReader(file) if row["loss"]]
    told = {"volunet": ends} | {p.stem: json.loads(p.read_text())["ends"] for p in (nnunet, monai)}
    return {
        "patch": sizes.patch,
        "batch": sizes.batch,
        "features": sizes.features,
        "steps": steps - FIRST,
        "seconds": {name: seconds_of(ends) for name, ends in told.items()},
    }


def train_volunet(sizes: Sizes, steps: int, folder: Path, options: argparse.Namespace) -> Path:
    run = folder / "volunet"
    sides = [[2, 2, 2]] * (len(sizes.features) - 1), [[3, 3, 3]] * len(sizes.features)
    plan = {"patch": sizes.patch, "batch": sizes.batch, "features": sizes.features}
    plan |= dict(zip(("strides", "kernels"), sides, strict=True))
    plan |= {"spacing": [1, 1, 1], "residual": False}
    changes = [f"plan.{key}={json.dumps(value)}" for key, value in plan.items()]
    changes += ["training.log_steps=1", "training.validations=1"]
    words = [VOLUNET, "train", options.data, "-o", run, "--budget", f"{steps}steps"]
    words += ["--splits", options.splits, "--fold", "0", "-d", "cpu"]
    words += [word for change in changes for word in ("--set", change)]
    subprocess.run(list(map(str, words)), check=True)
    return run


def train_nnunet(
    sizes: Sizes, steps: int, sign: Path, folder: Path, options: argparse.Namespace
) -> None:
    planner, plans = PLANS["plain"]
    make_raw(options.data, folder / "nn" / "raw" / SET)
    tool = Tool(options.nnunet_python.parent, folder / "nn")
    tool.prepare(planner, plans, options.splits, sizes)
    tool.run_until(sign, TIMED.format(steps=steps, path=str(sign)), plans)


def seconds_of(ends: list[float]) -> dict[str, float]:
    """Mean and median seconds of a step, the first ones left out."""
    each = [b - a for a, b in zip(ends[FIRST - 1 :], ends[FIRST:], strict=False)]
    return {"mean": round(statistics.mean(each), 3), "median": round(statistics.median(each), 3)}


def table(facts: dict) -> str:
    """The rows for the documentation."""
    lines = ["| features | patch | batch | volunet s | nnU-Net s | MONAI s | faster than nnU-Net |"]
    lines[0] += " faster than MONAI |"
    lines.append("|" + "---|" * 8)
    for row in facts["rows"].values():
        mean = {name: seconds["mean"] for name, seconds in row["seconds"].items()}
        cells = [
            ", ".join(map(str, row["features"])),
            " x ".join(map(str, row["patch"])),
            row["batch"],
            *(f"{mean[name]:.3f}" for name in ("volunet", "nnunet", "monai")),
            *(f"{mean[name] / mean['volunet']:.2f}" for name in ("nnunet", "monai")),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
