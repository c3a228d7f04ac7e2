"""A scan in less time than it takes: within a deadline, and some structures alone.

    python -m benchmarks.less --scan CT --labels LABELS --model MODEL --work WORK --keep ct

Each row is a `volunet predict` of its own. Its mask is compared with the reference labels and with
the mask that is made without haste, of the structures that were asked for.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.measured import keep, processor
from benchmarks.runs import Row, limit_to, measure_all, result_path
from benchmarks.scores import dice, read
from benchmarks.settings import VOLUNET

RESULTS = Path(__file__).parent / "results"
WITHOUT_HASTE = "all of it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=int, nargs="+", default=[60, 120])
    parser.add_argument("--structures", nargs="+", default=["mandible"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", required=True, help="name of the result")
    options = parser.parse_args()
    limit_to(options.threads)
    rows = rows_for(options)
    measure_all(list(rows), options.work, 1)
    plan = json.loads((options.model / "model.json").read_text())["plan"]
    values = plan["labels"]["structures"]
    reference = read(options.labels)
    whole = read(options.work / f"{WITHOUT_HASTE}_1" / options.scan.name)
    told = {
        row.name: facts_of(row.name, options, {str(values[s]): s for s in asked}, reference, whole)
        for row, asked in rows.items()
    }
    facts = {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
    facts |= {"threads": options.threads, "rows": told}
    keep(RESULTS / f"less_{options.keep}.json", facts)
    print(table(facts))


def rows_for(options: argparse.Namespace) -> dict[Row, tuple[str, ...]]:
    """Each row, and the structures it is judged by."""
    plan = json.loads((options.model / "model.json").read_text())["plan"]
    all_of_them = tuple(plan["labels"]["structures"])
    paths = (VOLUNET, "predict", "-q", "-i", str(options.scan), "-m", str(options.model))
    paths += ("-o", "{out}")
    rows = {Row(WITHOUT_HASTE, paths): all_of_them}
    for seconds in options.seconds:
        rows[Row(f"in {seconds} s", (*paths, "--deadline", f"{seconds}s"))] = all_of_them
    for name in options.structures:
        rows[Row(f"{name} alone", (*paths, "--roi", name))] = (name,)
    return rows


def facts_of(
    name: str,
    options: argparse.Namespace,
    asked: dict[str, str],
    reference: np.ndarray,
    whole: np.ndarray,
) -> dict[str, Any]:
    """Seconds, windows and Dice of a row; that there is no mask, if there is none."""
    path = result_path(options.work, name, 1)
    if not path.exists():
        return {"no_mask": True}
    facts = json.loads(path.read_text())
    out = options.work / f"{name}_1"
    record = json.loads((out / "journal.jsonl").read_text().splitlines()[-1])
    seen = read(out / options.scan.name)
    return {
        "seconds": facts["seconds"],
        "labelling_s": round(sum(record["steps"].get(s, 0.0) for s in STEPS), 1),
        "windows": record["how"]["windows"],
        "sure_share": record["how"]["sure_share"],
        "dice": of_those(dice(seen, reference), asked),
        "dice_to_whole": of_those(dice(seen, whole), asked),
    }


STEPS = ("judge", "choose", "prepare", "network", "label", "tidy")


def of_those(scores: dict[str, float], asked: dict[str, str]) -> dict[str, float]:
    found = {name: round(scores[value], 4) for value, name in asked.items() if value in scores}
    return found | {"mean": round(float(np.mean(list(found.values()))), 4)}


def table(facts: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = ["| | whole run s | voxels to labels s | windows | doubt looked at again | Dice | "]
    lines[0] += "Dice to the mask made without haste |"
    lines.append("|" + "---|" * 7)
    for name, row in facts["rows"].items():
        if "no_mask" in row:
            lines.append(f"| {name} | no mask: the time is too short |" + " |" * 5)
            continue
        cells = (
            name,
            f"{row['seconds']:.0f}",
            f"{row['labelling_s']:.0f}",
            row["windows"],
            f"{row['sure_share']:.0%}" if name.startswith("in ") else "",
            row["dice"]["mean"],
            row["dice_to_whole"]["mean"],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
