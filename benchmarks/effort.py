"""What --fast and --best cost and give: Dice, seconds and windows on cases that chose neither.

Of the cases of a dataset that a run did not train on, every second one calibrates a copy of its
model, as `volunet train` does it; the others are segmented with each preset.

    python -m benchmarks.effort --run RUN --data DATASET --out OUT --keep hippocampus

RUN is what `volunet train` wrote. Reading and writing files are outside the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.peers.measured import processor
from volunet.api.calibration import calibrate_run
from volunet.api.models import load
from volunet.data.cases import Case
from volunet.data.layouts import find_dataset
from volunet.data.read_case import read_case
from volunet.evaluation.overlap import overlaps

RESULTS = Path(__file__).parent / "results"
PRESETS = ("fast", None, "best")


def main() -> None:
    options = read_options()
    out = options.out
    copy_model(options.run, out, options.overlap)
    chosen_on, measured_on = unseen(options.run, options.data, options.most)
    for case in chosen_on:
        (out / "validation" / f"{case.case_id}.nii.gz").touch()
    recipe = json.loads((options.run / "run.json").read_text())["made_from"]["recipe"]
    started = time.monotonic()
    found = calibrate_run(
        out,
        load(out, device=options.device, engine=options.engine),
        chosen_on,
        mirror=recipe["training"]["augmentation"]["mirror"],
        most_s=options.calibrate_s,
        counted=lambda what, done, total: print(f"{what}: {done} of {total}", flush=True),
    )
    took = time.monotonic() - started
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("volunet", "torch", "openvino")},
        "calibration_s": round(took, 1),
        "calibration": found.model_dump(mode="json"),
        "says": [found.say("fast"), found.say("best")],
        "measured_on": [case.case_id for case in measured_on],
        "rows": {
            preset or "default": measure(out, preset, measured_on, options) for preset in PRESETS
        },
    }
    text = json.dumps(result, indent=2) + "\n"
    (out / "result.json").write_text(text)
    if options.keep:
        (RESULTS / f"effort_{options.keep}.json").write_text(text)
    print(table(result))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--overlap", type=float, help="the default's, in place of the plan's")
    parser.add_argument("--calibrate-s", type=float, default=600)
    parser.add_argument("--most", type=int, help="cases that are measured, and that calibrate")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--device")
    parser.add_argument("--keep", help="name under benchmarks/results")
    return parser.parse_args()


def copy_model(run: Path, out: Path, overlap: float | None) -> None:
    """A run's folder with its model alone."""
    shutil.rmtree(out / "model", ignore_errors=True)
    shutil.copytree(run / "model", out / "model")
    (out / "validation").mkdir(exist_ok=True)
    if overlap is not None:
        path = out / "model" / "model.json"
        said = json.loads(path.read_text())
        said["plan"]["overlap"] = overlap
        path.write_text(json.dumps(said))


def unseen(run: Path, data: Path, most: int | None) -> tuple[list[Case], list[Case]]:
    """The cases that were not trained on, in two halves."""
    trained = set(json.loads((run / "splits.json").read_text())["train"])
    cases = [case for case in find_dataset(data).cases if case.case_id not in trained]
    return cases[::2][:most], cases[1::2][:most]


def measure(out: Path, preset: str | None, cases: list[Case], options: argparse.Namespace) -> dict:
    """What one preset gives; the first case is segmented twice, and the first time not counted."""
    segment = load(out, device=options.device, engine=options.engine, effort=preset)
    labels = segment.plan.labels
    dice, seconds, windows = {}, [], []
    for case in (cases[0], *cases):
        read = read_case(case, channels=len(segment.plan.channels), labels=labels)
        started = time.perf_counter()
        found = segment(read.image)
        seconds.append(time.perf_counter() - started)
        windows.append(found.how["windows"])
        seen = overlaps(
            read.label.voxels[0], found.labels.voxels[0], labels.values, ignore=labels.ignore
        )
        dice[case.case_id] = [seen[value].dice for value in labels.values]
    effort = segment.effort
    rows = np.array(list(dice.values()))
    return {
        "overlap": effort.overlap,
        "mirror": list(effort.mirror),
        "skip_air": effort.skip_air,
        "engines": found.how["engines"],
        "dice": round(float(np.nanmean(np.nanmean(rows, axis=0))), 4),
        "dice_by_structure": dict(
            zip(labels.names, np.nanmean(rows, axis=0).round(4).tolist(), strict=True)
        ),
        "seconds": round(float(np.mean(seconds[1:])), 3),
        "windows": round(float(np.mean(windows[1:])), 2),
        "cases": len(cases),
    }


def table(result: dict) -> str:
    """The rows as Markdown."""
    lines = ["| | overlap | mirrored | windows | seconds | Dice |", "|---|---|---|---|---|---|"]
    for name, row in result["rows"].items():
        axes = ", ".join("RAS"[axis] for axis in row["mirror"]) or "no"
        figures = (row["overlap"], axes, row["windows"], row["seconds"], row["dice"])
        lines.append(f"| {name} | {' | '.join(map(str, figures))} |")
    return "\n".join([*lines, "", *result["says"]])


if __name__ == "__main__":
    main()
