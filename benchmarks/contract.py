"""Memory as a contract: predicted and measured peaks of `volunet predict` under `--max-memory`.

    python -m benchmarks.contract --work FOLDER

Makes phantoms and two small models (23 and 103 structures; minutes each) in FOLDER, then segments
them in a process of its own for each row. Started again, it goes on where it stopped. Peaks are
the kernel's `ru_maxrss` of the process, with anonymous memory sampled beside it; GB are 10^9 bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sysconfig
import threading
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.peers.measured import keep, processor
from benchmarks.runs import python

RESULTS = Path(__file__).parent / "results"
SAMPLE_S = 0.05


@dataclass(frozen=True)
class Run:
    """One run: so many structures and slices, in so many GB (0 for no limit).

    Args:
        full: in float32; else by the engine and in the precision that volunet chooses here.
    """

    structures: int
    slices: int
    limit_gb: float
    full: bool = False

    @property
    def name(self) -> str:
        limit = f"{self.limit_gb:g}gb" if self.limit_gb else "free"
        return f"{self.structures + 1}_{self.slices}_{limit}{'_fp32' * self.full}"


RUNS = (
    *(Run(23, 600, gb) for gb in (8, 4, 3, 6)),
    *(Run(103, slices, gb) for gb in (8, 4) for slices in (600, 300)),
    Run(103, 600, 6),
    Run(103, 300, 0, full=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="phantoms, models, masks, rows")
    parser.add_argument("--side", type=int, default=512, help="voxels along R and A")
    parser.add_argument("--share", type=float, default=1.0, help="of the slices and of the limits")
    parser.add_argument("--steps", type=int, default=600, help="of training")
    parser.add_argument("--only", nargs="*", help="names of runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "contract.json")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for run in RUNS:
        if not options.only or run.name in options.only:
            row = measure(run, options)
            print(json.dumps(row), flush=True)
    write_result(options)


def measure(run: Run, options: argparse.Namespace) -> dict:
    """The row of a run, from an earlier start where there is one."""
    kept = options.work / f"row_{run.name}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    shape = (options.side, options.side, round(run.slices * options.share))
    scan = options.work / f"ct_{run.structures}_{shape[2]}.nii.gz"
    model = options.work / f"model_{run.structures}"
    prepare(scan, model, shape, run.structures, options.steps)
    out = options.work / f"out_{run.name}"
    command = [str(Path(sysconfig.get_path("scripts")) / "volunet"), "predict"]
    command += ["-i", str(scan), "-m", str(model), "-o", str(out), "-d", "cpu"]
    command += ["--everywhere", *(["--precision", "fp32"] if run.full else [])]
    if run.limit_gb:
        command += ["--max-memory", f"{round(1000 * run.limit_gb * options.share)}MB"]
    row = {**asdict(run), "shape": shape, **watched(command)}
    told = json.loads((out / "run.json").read_text())
    case = (out / "cases.csv").read_text().splitlines()[1].split(",")
    row |= {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "engines": engines_of(out),
        "status": case[1],
        "predicted_gb": told["predicted_peak_gb"],
        "mask": str(out),
    }
    if row["predicted_gb"] and row["status"].startswith("ok"):
        row["predicted_to_measured"] = round(row["predicted_gb"] / row["peak_gb"], 3)
    kept.write_text(json.dumps(row))
    return row


def engines_of(out: Path) -> str:
    """The engine that the journal of a run tells of; nothing where the scan was refused."""
    record = json.loads((out / "journal.jsonl").read_text().splitlines()[-1])
    return ", ".join(record["how"].get("engines", []))


def prepare(scan: Path, model: Path, shape: tuple, structures: int, steps: int) -> None:
    """Scan and model, made in processes of their own, as they take memory."""
    told = ("--structures", structures)
    if not scan.exists():
        python("benchmarks.phantom", scan, "--shape", *shape, *told)
    if not (model / "model.json").exists():
        python("benchmarks.contract_model", model, *told, "--steps", steps)


def watched(command: list[str]) -> dict:
    """Runs a command; its peak memory, how long it took, and what it said of its memory."""
    started, most = time.monotonic(), [0]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def sample() -> None:
        status = Path(f"/proc/{process.pid}/status")
        while process.returncode is None:
            try:
                lines = status.read_text().splitlines()
            except OSError:
                return
            kib = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
            most[0] = max([most[0], *kib])
            time.sleep(SAMPLE_S)

    threading.Thread(target=sample, daemon=True).start()
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "exit": process.returncode,
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 3),
        "anonymous_gb": round(most[0] * 1024 / 1e9, 3),
        "seconds": round(time.monotonic() - started, 1),
        "said": next((s for s in said.splitlines() if "Predicted" in s or "would" in s), ""),
    }


def write_result(options: argparse.Namespace) -> None:
    """All rows so far, with the masks compared."""
    rows = {
        run.name: json.loads(path.read_text())
        for run in RUNS
        if (path := options.work / f"row_{run.name}.json").exists()
    }
    pairs = [("24_600_8gb", name) for name in rows if name.startswith("24_600")]
    pairs += [("104_300_free_fp32", name) for name in rows if name.startswith("104_300")]
    pairs += [("104_600_8gb", name) for name in rows if name.startswith("104_600")]
    for one, other in pairs:
        both = [rows.get(name, {}) for name in (one, other)]
        if one != other and all(row.get("status", "").startswith("ok") for row in both):
            share, classes = compare(*(Path(row["mask"]) for row in both))
            rows[other] |= {"against": one, "foreground_equal": share, "classes": classes}
    rows = earlier(options.out) | rows
    told = [
        {k: v for k, v in rows[run.name].items() if k != "mask"} for run in RUNS if run.name in rows
    ]
    keep(
        options.out,
        {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "rows": told,
        },
    )
    print(table(told))


def earlier(out: Path) -> dict[str, dict]:
    """Rows that an earlier start kept, maybe elsewhere, by the names of their runs."""
    before = json.loads(out.read_text())["rows"] if out.exists() else []
    asked = [field.name for field in fields(Run)]
    return {Run(**{name: row[name] for name in asked}).name: row for row in before}


def table(rows: list[dict]) -> str:
    """The rows for the documentation."""
    lines = ["| classes | scan | limit GB | way | predicted GB | peak GB | minutes | equal | on |"]
    lines.append("|" + "---|" * 9)
    for row in rows:
        size = " x ".join(map(str, row["shape"]))
        way = row["said"].rpartition(f"{size}, ")[2].rstrip(").") if row["predicted_gb"] else ""
        equal = f"{row['foreground_equal']:.4%}" if "foreground_equal" in row else ""
        ok = row["status"].startswith("ok")
        cells = (
            row["structures"] + 1,
            size,
            f"{row['limit_gb']:g}" if row["limit_gb"] else "none",
            f"{row['engines']}, {way}" if ok else row["status"],
            row["predicted_gb"],
            row["peak_gb"],
            f"{row['seconds'] / 60:.1f}",
            equal,
            f"{row['date']}, {row['processor']}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def compare(one: Path, other: Path) -> tuple[float, int]:
    """Share of the foreground of both masks that is equal, and the structures in the first."""
    from volunet.io.masks import label_counts, read_mask

    a, b = (read_mask(next(folder.glob("*.nii.gz"))).volume.voxels for folder in (one, other))
    differing = np.count_nonzero(a != b) / np.count_nonzero((a > 0) | (b > 0))
    return 1 - differing, len(label_counts(a)) - 1


if __name__ == "__main__":
    main()
