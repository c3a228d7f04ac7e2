"""What tidying gives on cases that did not choose it.

Masks of held-out cases, as the network made them, are split in two halves. What one half chooses is
done to the other, both ways; then all cases choose, as `volunet train` does it, and it is timed.

    volunet predict -i SCANS -m RUN -o MASKS
    python -m benchmarks.tidying --run RUN --masks MASKS --data DATASET --keep head_neck_ct

RUN's model must not tidy already, and none of MASKS may be of a case that it was trained on.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.peers.measured import processor
from volunet.data.layouts import find_dataset
from volunet.inference.postprocess import Tidy, tidy_labels
from volunet.io.masks import read_mask
from volunet.packaging.model_file import read_model_file
from volunet.training.tidying import (
    Choice,
    Trial,
    candidates_for,
    choose_tidy,
    try_candidates,
)

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = read_options()
    model = read_model_file(options.run)
    assert not model.tidy, "the masks must be those of the network alone"
    labels = model.plan.labels
    candidates = candidates_for(labels, model.fingerprint)
    trained = set(json.loads((options.run / "splits.json").read_text())["train"])
    trials, masks = [], []
    for case in find_dataset(options.data).cases:
        path = options.masks / f"{case.case_id}.nii.gz"
        if path.is_file():
            assert case.case_id not in trained, f"{case.case_id} was trained on"
            masks.append(read_mask(path, labels).volume)
            reference = read_mask(case.label, labels).volume
            started = time.perf_counter()
            trials.append(try_candidates(reference, masks[-1], labels, candidates, case=case))
            print(f"{case.case_id}: tried in {time.perf_counter() - started:.1f} s", flush=True)
    halves = [trials[::2], trials[1::2]]
    choices = [choose_tidy(half, candidates) for half in halves]
    chosen = choose_tidy(trials, candidates)
    seconds = [timed(mask, chosen.tidy, labels) for mask in masks]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cases": len(trials),
        "all": chosen.model_dump(mode="json"),
        "says": str(chosen),
        "rows": {
            name: row(name, choices, halves, candidates[name], chosen) for name in labels.names
        },
        "tidy_s": round(float(np.mean(seconds)), 3) if chosen.tidy else None,
        "largest_scan": list(max((m.grid.shape for m in masks), key=np.prod)),
    }
    if options.keep:
        (RESULTS / f"tidying_{options.keep}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", help="name under benchmarks/results")
    return parser.parse_args()


def row(
    name: str,
    choices: list[Choice],
    halves: list[list[Trial]],
    steps: list,
    chosen: Choice,
) -> dict:
    """One structure: what each half chose, and what that gave on the other half."""
    before, after = [], []
    for choice, others in zip(choices, reversed(halves), strict=True):
        verdict = choice.structures[name].chosen
        place = 1 + steps.index(verdict) if verdict else 0
        for trial in others:
            if name in trial.dice:
                before.append(trial.dice[name][0])
                after.append(trial.dice[name][place])
    return {
        "halves": [str(choice.structures[name].chosen) for choice in choices],
        "all": str(chosen.structures[name].chosen),
        "cases": len(before),
        "before": round(float(np.mean(before)), 4),
        "after": round(float(np.mean(after)), 4),
    }


def timed(mask, tidy: Tidy, labels) -> float:
    """Seconds that tidying a case takes."""
    index = labels.to_index(mask.voxels[0])
    started = time.perf_counter()
    tidy_labels(index, tidy, labels, voxel_ml=mask.grid.voxel_ml)
    return time.perf_counter() - started


def table(result: dict) -> str:
    """The rows as Markdown."""
    lines = [
        "| | chosen by all | Dice before | on cases that did not choose |",
        "|---|---|---|---|",
    ]
    for name, found in result["rows"].items():
        lines.append(f"| {name} | {found['all']} | {found['before']} | {found['after']} |")
    took = [] if result["tidy_s"] is None else [f"{result['tidy_s']} s a case."]
    return "\n".join([*lines, "", *took, result["says"]])


if __name__ == "__main__":
    main()
