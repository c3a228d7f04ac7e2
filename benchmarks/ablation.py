"""What each measure gives: the engine, bfloat16, streaming, cropping and skipping, two threads.

    python -m benchmarks.ablation --work WORK --runs 1

It goes on from what `benchmarks.inference` made in WORK: the scan, its middle, and the model. Two
tables: everything on and one measure off, on the whole scan; and everything off and one measure on,
on the middle of the scan, where torch in float32 ends within a night.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.inference import RESULTS
from benchmarks.peers.measured import keep, processor
from benchmarks.runs import Row, limit_to, measure_all, summary
from benchmarks.settings import fastest_precision, must_choose

SLOW = ("--engine", "torch", "--precision", "fp32", "--everywhere", "--dense")


@dataclass(frozen=True)
class Turn:
    """One measure taken away or given, and the words that do it."""

    name: str
    about: str
    words: tuple[str, ...] = ()
    threads: int | None = None


OFF = (
    Turn("all", "everything on"),
    Turn("engine", "without an engine (torch)", ("--engine", "torch")),
    Turn("half", "without bfloat16", ("--precision", "fp32")),
    Turn("streaming", "without streaming, cropping and skipping", ("--dense",)),
    Turn("skipping", "without cropping and skipping", ("--everywhere",)),
    Turn("threads", "with one thread", threads=1),
)
ON = (
    Turn("nothing", "everything off, one thread", SLOW, threads=1),
    Turn("engine", "with an engine, in float32", ("--precision", "fp32", *SLOW[4:]), threads=1),
    Turn("half", "with bfloat16 in torch", ("--precision", "bf16", *SLOW[:2], *SLOW[4:]), 1),
    Turn("streaming", "with streaming", SLOW[:5], threads=1),
    Turn("skipping", "with streaming, cropping and skipping", SLOW[:4], threads=1),
    Turn("threads", "with two threads", SLOW),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="as in benchmarks.inference")
    parser.add_argument("--case", required=True, help="of the CT")
    parser.add_argument("--tables", nargs="+", default=["off", "on"])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    limit_to(options.threads)
    for name in options.tables:
        turns, kind = {"off": (OFF, "ct"), "on": (ON, "small")}[name]
        scan = options.work / "volumes" / kind / f"{options.case}.nii.gz"
        small = options.work / "volumes" / "small" / f"{options.case}.nii.gz"
        rows = [make_row(turn, scan, small, options) for turn in turns]
        folder = options.work / f"ablation_{name}"
        measure_all(rows, folder, options.runs)
        result = {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": processor(),
            "threads": options.threads,
            "scan": kind,
            "base": rows[0].name,
            "rows": summary(rows, folder, options.runs),
        }
        keep(options.results / f"ablation_{name}.json", result)


def make_row(turn: Turn, scan: Path, small: Path, options: argparse.Namespace) -> Row:
    """A row that looks at a scan through the Python API, engines tried beforehand."""
    threads = str(turn.threads or options.threads)

    def words(scan: Path) -> tuple[str, ...]:
        paths = ("--scan", str(scan), "--model", str(options.work / "model"), "--out", "{out}")
        more = ("--threads", threads, "--json", "{json}")
        return (sys.executable, "-m", "benchmarks.one_scan", *paths, *more, *turn.words)

    first = words(small) if must_choose(turn.words) else ()
    half = turn.name == "half" and fastest_precision() == "fp32"
    missing = "this processor does not multiply in bfloat16" if half else ""
    return Row(turn.name, words(scan), about=turn.about, first=first, missing=missing)


if __name__ == "__main__":
    main()
