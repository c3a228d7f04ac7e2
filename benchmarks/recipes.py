"""Which way of training, or which network, gives the most Dice: experiments, one run a row.

    python -m benchmarks.recipes --data DATASET --recipe RECIPE --splits SPLITS --work WORK \
        --steps 420 --keep hippocampus

Groups: optimisers, rates (that stay or fall), kinds of blocks, attention gates (`--group gates
--budget 10m`), patches that grow, changes of patches (`--group augmentation`), and a start from a
trained model (`--group few --from MODEL`, on the table of `benchmarks.few`). Every row is `volunet
train` with a few settings changed, scored case by case on the held-out scans (native grids, the
default inference) and compared with the first row, pair by pair. With `--folds 5` every case is
held out once, and the budget is that of all folds. Budgets in steps of the plan's batch let other
work on the machine change nothing but the seconds; a row with another batch takes as many patches.
Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.peers.measured import keep, processor, versions
from benchmarks.settings import VOLUNET
from volunet.evaluation.interval import paired_difference

RESULTS = Path(__file__).parent / "results"
OPTIM = "training.optimisation"


@dataclass(frozen=True)
class Experiment:
    """What a run changes.

    Args:
        changes: of the recipe, as `--set` takes them.
        share: of the steps, where a step costs otherwise.
        tuned: begins with the weights of `--from`.
    """

    name: str
    changes: tuple[str, ...] = ()
    share: float = 1.0
    tuned: bool = False


def optimiser(method: str, rate: str, *more: str) -> tuple[str, ...]:
    return (f'{OPTIM}.method="{method}"', f"{OPTIM}.learning_rate={rate}", *more)


LINE, STAYS = f'{OPTIM}.decay="linear"', f'{OPTIM}.decay="none"'
FALLS = f'{OPTIM}.decay="cosine"'
DECAY = f"{OPTIM}.weight_decay=0.1"
GROWTH, AUGMENTATION = "training.growth", "training.augmentation"
MIRRORED = f"{AUGMENTATION}.mirror=[0]"
FURTHER = (f"{AUGMENTATION}.turn_deg=30", f"{AUGMENTATION}.scale=[0.7,1.4]")
GROWING = (f"{AUGMENTATION}.hardest_after=80",)
SHARES = {"turn": 0.8, "noise": 0.3, "brightness": 0.4, "contrast": 0.4, "gamma": 0.4}
MORE = (*FURTHER, *(f"{AUGMENTATION}.{name}_share={share}" for name, share in SHARES.items()))
DEPTHS = ("plan.options.depths=[1,1,1,1]", "plan.options.decoder_depths=[1,1,1]")
WIDE = "plan.features=[32,64,128,256]"
ENCODER = ('plan.family="nnunet"', *DEPTHS)
PLAIN, RESIDUAL, GATES = "plan.residual=false", "plan.residual=true", "plan.attention=true"
GROUPS = {
    "optimisers": (
        Experiment("AdamW, 0.002 (was the default)", optimiser("adamw", "0.002")),
        Experiment("AdamW, 0.001", optimiser("adamw", "0.001")),
        Experiment("AdamW, 0.004", optimiser("adamw", "0.004")),
        Experiment("SGD, 0.01", optimiser("sgd", "0.01")),
        Experiment("Muon, 0.002", optimiser("muon", "0.002")),
        Experiment("Muon, 0.005", optimiser("muon", "0.005")),
        Experiment("Muon, 0.01", optimiser("muon", "0.01")),
        Experiment("Muon, 0.02", optimiser("muon", "0.02")),
        Experiment("Muon, 0.01, linear", optimiser("muon", "0.01", LINE)),
        Experiment("Muon, 0.01, batch 1", (*optimiser("muon", "0.01"), "plan.batch=1"), share=2),
        Experiment("Muon, 0.01, batch 4", (*optimiser("muon", "0.01"), "plan.batch=4"), share=0.5),
    ),
    "rates": (
        Experiment("Muon, the rate falls", (FALLS,)),
        Experiment("Muon, the rate stays", (STAYS,)),
        Experiment("SGD, 0.01, linear", optimiser("sgd", "0.01", LINE)),
        Experiment("AdamW, 0.002", optimiser("adamw", "0.002")),
    ),
    "growth": (
        Experiment("whole patches"),
        Experiment("from half the sides, whole after half the time", (f"{GROWTH}.begin=0.5",)),
    ),
    "augmentation": (
        Experiment("not mirrored", (f"{AUGMENTATION}.mirror=[]",)),
        Experiment("mirrored left-right", (MIRRORED,)),
        Experiment("mirrored on all axes", (f"{AUGMENTATION}.mirror=[0,1,2]",)),
        Experiment("mirrored left-right, turned and scaled twice as far", (MIRRORED, *FURTHER)),
        Experiment("mirrored left-right, changed more, and more often", (MIRRORED, *MORE)),
        Experiment("mirrored left-right, changed more and more in 80 passes", (MIRRORED, *GROWING)),
        Experiment("mirrored left-right, rate stays", (MIRRORED, STAYS)),
        Experiment("mirrored left-right, dropout 0.1", (MIRRORED, "plan.layers.dropout=0.1")),
        Experiment("mirrored left-right, decay of 0.1", (MIRRORED, DECAY)),
        Experiment("mirrored left-right, rate stays, decay of 0.1", (MIRRORED, STAYS, DECAY)),
    ),
    "blocks": (
        Experiment("residual", (RESIDUAL,)),
        Experiment("residual encoder, plain decoder of one convolution", (RESIDUAL, *ENCODER)),
        Experiment("residual, 32 features", (RESIDUAL, WIDE)),
        Experiment("residual, 32 features, changed more, and more often", (RESIDUAL, WIDE, *MORE)),
    ),
    "few": (
        Experiment("from scratch"),
        Experiment("fine-tuned", tuned=True),
        Experiment("fine-tuned, encoder frozen", (f"{OPTIM}.freeze_encoder=true",), tuned=True),
    ),
    "gates": (
        Experiment("plain", (PLAIN,)),
        Experiment("plain, gates", (PLAIN, GATES)),
        Experiment("residual", (RESIDUAL,)),
        Experiment("residual, gates", (RESIDUAL, GATES)),
    ),
}


def main() -> None:
    options = read_options()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for experiment in GROUPS[options.group]:
        if not options.only or experiment.name in options.only:
            measure(experiment, options)
    for experiment in GROUPS[options.group]:
        if (path := options.work / f"{slug(experiment)}.json").exists():
            rows.append(json.loads(path.read_text()))
    first = rows[0]["dice"]
    for row in rows[1:]:
        gain = paired_difference(row["dice"], first, np.random.default_rng(0))
        row["gain"] = [round(x, 4) for x in (gain.mean, gain.low, gain.high)]
    facts = {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
    facts |= {"cores": len(os.sched_getaffinity(0)), "versions": versions()}
    facts |= {"budget": options.budget or f"{options.steps}steps", "seed": options.seed}
    facts |= {"folds": options.folds}
    facts |= {"rows": rows}
    keep(RESULTS / f"recipes_{options.keep}.json", facts)
    print(table(facts))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    held = parser.add_mutually_exclusive_group()
    held.add_argument("--splits", type=Path, help="fold 0 of it; else one case in five")
    held.add_argument("--folds", type=int, help="hold out every case once, in so many folds")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--group", choices=GROUPS, default="optimisers")
    parser.add_argument("--steps", type=int, default=420)
    parser.add_argument("--budget", help="a time, such as 10m, instead of steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--from", type=Path, dest="start", help="a model that is fine-tuned")
    parser.add_argument("--keep", required=True, help="name under benchmarks/results")
    return parser.parse_args()


def slug(experiment: Experiment) -> str:
    """The name as a file's."""
    return "".join(c if c.isalnum() or c == "." else "_" for c in experiment.name)


def measure(experiment: Experiment, options: argparse.Namespace) -> None:
    """Trains and scores, and keeps the row; nothing where that was done."""
    kept = options.work / f"{slug(experiment)}.json"
    if kept.exists():
        return
    run = options.work / slug(experiment)
    budget = options.budget or f"{round(options.steps * experiment.share)}steps"
    words = ["train", options.data, "-o", run, "-r", options.recipe, "--budget", budget]
    words += ["--seed", options.seed, "--set", "training.validations=1", "-q"]
    words += [word for change in experiment.changes for word in ("--set", change)]
    if experiment.tuned:
        words += ["--from", options.start]
    if options.splits:
        words += ["--splits", options.splits, "--fold", 0]
    if options.folds:
        words += ["--folds", options.folds]
    print(f"{experiment.name} ...", flush=True)
    subprocess.run([VOLUNET, *map(str, words)], check=True)
    ran = [run / f"fold_{n}" for n in range(options.folds)] if options.folds else [run]
    told = [json.loads((one / "run.json").read_text()) for one in ran]
    dice = dice_of(run)
    mean = round(float(np.mean(list(dice.values()))), 4)
    steps = sum(one["steps"] for one in told)
    row = asdict(experiment) | {"steps": steps, "step_s": told[0]["step_s"]}
    keep(kept, row | {"threads": told[0]["threads"], "mean": mean, "dice": dice})
    print(f"  {mean}", flush=True)


def dice_of(run: Path) -> dict[str, float]:
    """Mean Dice over its structures of each held-out case."""
    found: dict[str, list[float]] = {}
    with (run / "validation" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            if row["dice"]:
                found.setdefault(row["case_id"], []).append(float(row["dice"]))
    return {case: float(np.mean(values)) for case, values in found.items()}


def table(facts: dict) -> str:
    """The rows for the documentation."""
    lines = ["| | steps | Dice | paired difference to the first row |", "|---|---|---|---|"]
    for row in facts["rows"]:
        gain = "{:+.4f} ({:.4f} to {:.4f})".format(*row["gain"]) if "gain" in row else ""
        lines.append(f"| {row['name']} | {row['steps']} | {row['mean']:.4f} | {gain} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
