"""How long `volunet --help` takes, as a whole process: the median of n runs after one to warm up.

Beside it stands the time of an empty Python process, which no command can beat.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def seconds(command: list[str], runs: int) -> list[float]:
    """The wall-clock seconds of each run, fastest first; one more run beforehand warms the disk."""
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - start)
    return sorted(taken[1:])


def main() -> None:
    """Measure, print one line, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / "help_time.json")
    arguments = parser.parse_args()
    command = Path(sysconfig.get_path("scripts")) / "volunet"
    taken = seconds([str(command), "--help"], arguments.runs)
    empty_s = statistics.median(seconds([sys.executable, "-c", "pass"], arguments.runs))
    result = {
        "measures": "volunet --help, whole process",
        "runs": arguments.runs,
        "median_s": round(statistics.median(taken), 3),
        "slowest_s": round(taken[-1], 3),
        "empty_python_median_s": round(empty_s, 3),
        "volunet": version("volunet"),
        "python": platform.python_version(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"volunet --help: {statistics.median(taken):.3f} s (an empty Python: {empty_s:.3f} s)")


if __name__ == "__main__":
    main()
