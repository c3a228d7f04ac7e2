"""An imported nnU-Net model beside nnU-Net itself: masks, seconds from file to file, memory.

    python -m benchmarks.nnunet --nnunet-python /path/to/python --model TRAINED --scans SCANS \\
        --out OUT --about "20 scans" --keep hippocampus

TRAINED is a folder such as `nnUNetTrainer__nnUNetPlans__3d_fullres`, SCANS a folder in nnU-Net's
naming (`case_0000.nii.gz`). The model is imported, then every scan is segmented by both, each in a
process of its own: by nnU-Net in float32, by volunet in float32 and as it runs by default. For each
case: how much of the union of both foregrounds is equal, voxel by voxel, and the Dice of each label
with nnU-Net's mask as the reference. nnU-Net sums logits in float16; masks are compared as well
with those it makes with sums in float32, so that its rounding is told from a difference of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.measured import keep, processor, versions
from benchmarks.scores import dice, read
from benchmarks.settings import VOLUNET, fastest_precision

RESULTS = Path(__file__).parent / "results"
LAUNCH = Path(__file__).with_name("launch.py")
ENTRY = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as go"
FULL_SUMS = """
import inspect
from nnunetv2.inference import predict_from_raw_data as room
source = inspect.getsource(room)
assert source.count("dtype=torch.half") == 2, "another version of nnU-Net"
exec(compile(source.replace("torch.half", "torch.float"), room.__file__, "exec"), room.__dict__)
room.predict_entry_point_modelfolder()
"""
"""nnU-Net with its sums of logits in float32; it has no setting for that, and sums in float16."""
ASK = (
    "from importlib.metadata import version as v; import json; "
    "print(json.dumps([v('nnunetv2'), v('torch')]))"
)


def main() -> None:
    options = read_options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    folds = options.folds.split(",")
    model = out / "model"
    imported = launch(
        out / "import.json",
        [VOLUNET, "import-nnunet", options.model, "-o", model, "--folds", options.folds],
        threads=options.threads,
    )
    rows: dict[str, Any] = {"import": imported}
    for mirror in (False, True) if options.mirror else (False,):
        kind = "mirrored" if mirror else "plain"
        reference = out / f"nnunet_{kind}"
        full = out / f"nnunet_{kind}_full_sums"
        for code, masks in ((f"{ENTRY}; go()", reference), (FULL_SUMS, full)):
            words = [options.nnunet_python, "-c", code, "-i", options.scans, "-o", masks]
            words += ["-m", options.model, "-f", *folds, "-chk", "checkpoint_final.pth"]
            words += ["-device", "cpu", "-npp", "1", "-nps", "1"]
            words += [] if mirror else ["--disable_tta"]
            told = launch(out / "facts.json", words, threads=options.threads)
            rows.setdefault(f"nnunet {kind}", told)  # the first is nnU-Net as it is
        for name, flags in ways():
            masks = out / f"volunet_{kind}_{name}"
            words = [VOLUNET, "predict", "-q", "-i", options.scans, "-m", model, "-o", masks]
            words += [*flags, *options.flags.split(), *(["--best"] if mirror else [])]
            told = launch(out / "facts.json", words, threads=options.threads)
            found = told | compare(masks, reference)
            found["full_sums"] = compare(masks, full)
            rows[f"volunet {kind} {name}"] = found
    keep(RESULTS / f"nnunet_{options.keep}.json", facts_of(options, rows))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnunet-python", required=True, help="a Python with nnU-Net v2")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scans", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", default="0", help="such as 0,1")
    parser.add_argument("--mirror", action="store_true", help="with mirroring, too")
    parser.add_argument("--flags", default="", help="more flags for `volunet predict`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--about", required=True, help="what the scans are, for the table")
    parser.add_argument("--keep", required=True, help="name of the result")
    return parser.parse_args()


def ways() -> list[tuple[str, list[str]]]:
    """In float32, and as it runs by default where that is another precision."""
    full = ("fp32", ["--precision", "fp32"])
    return [full] if fastest_precision() == "fp32" else [full, ("default", [])]


def launch(facts: Path, words: list[Any], *, threads: int) -> dict[str, Any]:
    """Seconds and peak memory of a command; it must succeed."""
    log = facts.with_suffix(".log")
    with log.open("w") as said:
        subprocess.run(
            [sys.executable, LAUNCH, facts, *map(str, words)],
            check=True,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "nnUNet_compile": "f"},
        )
    told: dict[str, Any] = json.loads(facts.read_text())
    if told["exit"]:
        raise RuntimeError(f"{' '.join(map(str, words))} failed; see {log}.")
    return told


def compare(masks: Path, reference: Path) -> dict[str, Any]:
    """Equal share of the union of foregrounds, and Dice of each label, of all cases."""
    equal, union, shares, scores = 0, 0, list[float](), dict[str, list[float]]()
    for path in sorted(reference.glob("*.nii.gz")):
        theirs, ours = read(path), read(masks / path.name)
        inside = (theirs > 0) | (ours > 0)
        same = int((theirs == ours)[inside].sum())
        equal, union = equal + same, union + int(inside.sum())
        shares.append(same / inside.sum() if inside.any() else 1.0)
        for label, value in dice(ours, theirs).items():
            scores.setdefault(label, []).append(value)
    if not union:
        raise SystemExit(f"No mask of {masks.name} or nnU-Net holds a structure: nothing is shown.")
    return {
        "cases": len(shares),
        "union_voxels": union,
        "union_equal": round(equal / union, 6),
        "union_equal_worst_case": round(min(shares), 6),
        "dice": {label: round(float(np.mean(v)), 6) for label, v in sorted(scores.items())},
        "dice_worst": {label: round(min(v), 6) for label, v in sorted(scores.items())},
    }


def facts_of(options: argparse.Namespace, rows: dict[str, Any]) -> dict[str, Any]:
    said = subprocess.run(
        [options.nnunet_python, "-c", ASK], check=True, capture_output=True, text=True
    )
    nnunet, torch = json.loads(said.stdout)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "model": options.model.name,
        "scans": options.about,
        "folds": options.folds,
        "threads": options.threads,
        "rows": rows,
        "nnunet": {"nnunetv2": nnunet, "torch": torch},
        "versions": versions(),
        "processor": processor(),
    }


def table(results: Iterable[dict[str, Any]]) -> str:
    """The rows of several results for the documentation."""
    head = ("scans", "model", "looks", "nnU-Net s", "volunet s", "times faster", "nnU-Net GB")
    head += ("volunet GB", "foreground equal", "worst case", "least Dice", "equal, float32 sums")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for result in results:
        for name, row in result["rows"].items():
            if not name.startswith("volunet"):
                continue
            _, kind, way = name.split()
            theirs = result["rows"][f"nnunet {kind}"]
            cells = (
                result["scans"],
                "residual" if "ResEnc" in result["model"] else "plain",
                ("mirrored, " if kind == "mirrored" else "once, ") + way,
                f"{theirs['seconds']:.1f}",
                f"{row['seconds']:.1f}",
                f"{theirs['seconds'] / row['seconds']:.1f}",
                f"{theirs['peak_gb']:.2f}",
                f"{row['peak_gb']:.2f}",
                f"{row['union_equal']:.4%}",
                f"{row['union_equal_worst_case']:.4%}",
                f"{min(row['dice_worst'].values()):.4f}",
                f"{row['full_sums']['union_equal']:.4%}" if "full_sums" in row else "",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
