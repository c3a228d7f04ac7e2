"""Measurements in processes of their own, each kept as soon as it ends and not done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.measured import keep

ROOT = Path(__file__).parents[1]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One setting of one tool.

    Args:
        name: in tables and file names.
        words: the command; "{out}" is the run's folder and "{json}" where the command may keep
            facts of its own.
        about: one line for the page.
        runs: how often it is measured, if not as often as all.
        missing: why it cannot be measured here.
        first: a command that is run once before, timed apart: what a machine does once.
    """

    name: str
    words: tuple[str, ...]
    about: str = ""
    runs: int | None = None
    missing: str = ""
    first: tuple[str, ...] = ()


def limit_to(threads: int) -> None:
    """Gives this process and its children so many processors, and says so to their libraries."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ |= {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}


def measure_all(rows: Sequence[Row], folder: Path, runs: int) -> None:
    """Every row as often as asked, in turns, so that a slow hour hits all; kept ones are passed."""
    for n in range(1, runs + 1):
        for row in rows:
            path = result_path(folder, row.name, n)
            if row.missing or n > (row.runs or runs) or path.exists():
                continue
            try:
                measure_first(row, folder)
                print(f"{row.name}, run {n} ...", flush=True)
                facts = measure(row, folder, n)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                # The other rows go on; the same command tries it again.
                print(f"  not measured: {error}", flush=True)
                continue
            keep(path, facts)
            print(f"  {facts['seconds']} s, {facts['peak_gb']} GB", flush=True)


def measure_first(row: Row, folder: Path) -> None:
    """What is done once on a machine, such as the choice of an engine; its seconds are kept."""
    path = folder / f"{row.name}_first.json"
    if row.first and not path.exists():
        facts = measure(replace(row, words=row.first), folder, 0)
        keep(path, facts)
        print(f"{row.name}, once on a machine: {facts['seconds']} s", flush=True)


def result_path(folder: Path, name: str, n: int) -> Path:
    return folder / f"{name}_{n}.json"


def measure(row: Row, folder: Path, n: int) -> Facts:
    """One run: its seconds from start to end, its peak memory, and what it kept itself.

    Raises:
        RuntimeError: the command failed; its log is named.
    """
    out, log = folder / f"{row.name}_{n}", folder / f"{row.name}_{n}.log"
    own = folder / f"{row.name}_{n}.own.json"
    out.mkdir(parents=True, exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    words = [w.replace("{out}", str(out)).replace("{json}", str(own)) for w in row.words]
    launch = [sys.executable, "-S", "-E", str(Path(__file__).with_name("launch.py"))]
    with log.open("w") as file, tempfile.TemporaryDirectory() as aside:
        told = Path(aside) / "told.json"
        subprocess.run([*launch, told, *words], stdout=file, stderr=file, cwd=ROOT, check=True)
        facts: Facts = json.loads(told.read_text())
    if code := facts.pop("exit"):
        raise RuntimeError(f"{row.name} ended with {code}; see {log}.")
    if own.exists():
        facts |= {k: v for k, v in json.loads(own.read_text()).items() if k != "peak_gb"}
    said = told_by_volunet(out)
    peak = max(facts["peak_gb"], said.pop("peak_gb", 0.0))  # volunet starts the mark anew
    return facts | said | {"peak_gb": peak}


def told_by_volunet(out: Path) -> Facts:
    """What `volunet predict` says in its folder about its steps and its memory."""
    journal = out / "journal.jsonl"
    if not journal.exists():
        return {}
    records = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    bad = [record["message"] for record in records if not record["status"].startswith("ok")]
    if bad:
        raise RuntimeError(f"A scan was not segmented: {bad[0]}")
    steps: dict[str, float] = {}
    for record in records:
        for name, seconds in record.get("steps", {}).items():
            steps[name] = round(steps.get(name, 0.0) + seconds, 3)
    told: Facts = {"steps_s": steps} if steps else {}
    told["peak_gb"] = max(record.get("peak_gb") or 0.0 for record in records)
    return told


def results(row: Row, folder: Path, runs: int) -> list[Facts]:
    """What has been measured of a row so far."""
    paths = (result_path(folder, row.name, n) for n in range(1, runs + 1))
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def summary(rows: Sequence[Row], folder: Path, runs: int) -> dict[str, Facts]:
    """Medians of every row; a row that could not be measured says why."""
    told: dict[str, Facts] = {}
    for row in rows:
        found = results(row, folder, runs)
        told[row.name] = {"about": row.about}
        if not found:
            told[row.name]["not_measured"] = row.missing or "not run"
            continue
        told[row.name] |= {"runs": len(found), "all_s": [facts["seconds"] for facts in found]}
        told[row.name] |= _medians(found)
        first = folder / f"{row.name}_first.json"
        if first.exists():
            told[row.name]["first_s"] = json.loads(first.read_text())["seconds"]
    return told


def _medians(found: list[Facts]) -> Facts:
    """The median of each number, the median of each step, and all else as the first run has it."""
    first = found[0]
    told: Facts = {}
    for key, value in first.items():
        there = [facts[key] for facts in found if key in facts]
        if isinstance(value, dict) and key.endswith("_s"):
            told[key] = {
                step: round(median([steps.get(step, 0.0) for steps in there]), 3) for step in value
            }
        elif isinstance(value, int | float) and not isinstance(value, bool):
            told[key] = round(median(there), 3)
        else:
            told[key] = value
    return told


def python(*words: object) -> None:
    """Runs a module of the benchmarks that prepares or judges.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True, cwd=ROOT)
