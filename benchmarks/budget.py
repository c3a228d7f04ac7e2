"""Is a budget of time kept, also on a machine that others slow down in the middle?

    python -m benchmarks.budget --data HIPPOCAMPUS --splits splits_final.json --work WORK

Each run is `volunet train` with a budget in minutes. The time is taken from outside: from the
moment its history is there, before the first step, to the last line of it, when training and its
validation have ended. In loaded runs two busy processes compete for the same processors in the
second third of the budget. Started again, it goes on, and rows of earlier days are kept. A run that
had the machine to itself can serve as a fold of `benchmarks.folds`, whose recipe it takes: WORK/40m
is the `run` of the fold that it was told.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.folds import RECIPE
from benchmarks.peers.measured import keep, processor, versions
from benchmarks.runs import limit_to
from benchmarks.settings import VOLUNET

RESULTS = Path(__file__).parent / "results"
POLL_S = 0.05
BUSY = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="hippocampus")
    parser.add_argument("--splits", type=Path, required=True, help="nnU-Net's splits_final.json")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 40])
    parser.add_argument("--fold", type=int, default=0, help="of the splits, that is held out")
    parser.add_argument("--alone", action="store_true", help="no run beside others")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "budget.json")
    options = parser.parse_args()
    limit_to(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    before = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    rows = {(row["minutes"], row["loaded"]): row for row in before}
    for minutes in options.minutes:
        for loaded in (False, True)[: 2 - options.alone]:
            rows[minutes, loaded] = measure(minutes, loaded, options)
            facts = {"rows": [rows[run] for run in sorted(rows)]}
            keep(options.out, facts)
    print(table(facts))


def measure(minutes: float, loaded: bool, options: argparse.Namespace) -> dict:
    """The row of one run, from an earlier start where there is one."""
    name = f"{minutes:g}m{'_loaded' * loaded}"
    kept, run = options.work / f"{name}.json", options.work / name
    if kept.exists():
        return json.loads(kept.read_text())
    words = [VOLUNET, "train", options.data, "-o", run, "--budget", f"{minutes:g}m"]
    words += ["-r", RECIPE, "--splits", options.splits, "--fold", options.fold]
    words += ["-d", "cpu", "-q"]
    with subprocess.Popen(list(map(str, words))) as training:
        history = run / "history.csv"
        while not history.exists():
            if training.poll() is not None:
                raise RuntimeError(f"{name} ended with {training.returncode} before its first step")
            time.sleep(POLL_S)
        began = time.time()
        if loaded:
            time.sleep(20 * minutes)
            with others(options.threads):
                time.sleep(20 * minutes)
    if training.returncode:
        raise RuntimeError(f"{name} ended with {training.returncode}")
    took, told = history.stat().st_mtime - began, json.loads((run / "run.json").read_text())
    row = {
        "minutes": minutes,
        "loaded": loaded,
        "threads": options.threads,
        "seconds": round(took, 2),
        "off": round(took / (60 * minutes) - 1, 4),
        "steps": told["steps"],
        "says_s": told["budget_spent_s"],
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "versions": versions(),
    }
    kept.write_text(json.dumps(row))
    return row


@contextmanager
def others(count: int) -> Iterator[None]:
    """So many processes that do nothing but keep processors busy."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY], env=os.environ) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def table(facts: dict) -> str:
    """The rows for the documentation."""
    lines = [
        "| budget | cores | others in the second third | seconds | off | steps | measured on |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in facts["rows"]:
        cells = [
            f"{row['minutes']:g} min",
            str(row["threads"]),
            f"{row['threads']} busy" if row["loaded"] else "none",
            f"{row['seconds']:.1f}",
            f"{100 * row['off']:+.1f} %",
            str(row["steps"]),
            f"{row['date']}, {row['processor']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
