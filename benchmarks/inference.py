"""Inference side by side with MONAI, nnU-Net and TorchIO: one command, one machine, same weights.

    python -m benchmarks.inference --work WORK \\
        --data HEAD_NECK --case kbp_001 --model RUN \\
        --hippocampus HIPPOCAMPUS --hippocampus-model RUN \\
        --nnunet-python PYTHON --torchio-python PYTHON

Three cases: `ct` (one CT of 512 x 512 x 300 from file to file), `stitch` (what blending costs
beside the network) and `folder` (20 small scans). Each measurement is a process of its own, is kept
in WORK as soon as it ends, and is not done again: the same command goes on where it stopped. What
was measured comes to `benchmarks/results/inference_<case>.json` and from there to the docs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import settings
from benchmarks.peers.measured import keep, processor
from benchmarks.runs import (
    ROOT,
    Facts,
    Row,
    limit_to,
    measure_all,
    python,
    summary,
)

RESULTS = Path(__file__).parent / "results"
SCANS = 20


def main() -> None:
    options = read_options()
    limit_to(options.threads)
    for case in options.cases:
        {"ct": run_ct, "stitch": run_stitch, "folder": run_folder}[case](options)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--cases", nargs="+", default=["stitch", "folder", "ct"])
    parser.add_argument("--only", nargs="+", help="names of rows to measure")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-runs", type=int, help="of MONAI on the CT, if fewer")
    parser.add_argument("--peer-batch", type=int, default=1, help="MONAI's sw_batch_size")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="head and neck CT")
    parser.add_argument("--case", help="of the CT, one that the model was not trained on")
    parser.add_argument("--model", type=Path, help="trained on it")
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 512, 300])
    parser.add_argument("--agreement", action="store_true", help="engines against torch on the CT")
    parser.add_argument("--stitch-shape", type=int, nargs=3, default=[320, 320, 256])
    parser.add_argument("--stitch-patch", type=int, default=128)
    parser.add_argument("--hippocampus", type=Path)
    parser.add_argument("--hippocampus-model", type=Path)
    parser.add_argument("--nnunet-python", type=Path)
    parser.add_argument("--torchio-python", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def run_ct(options: argparse.Namespace) -> None:
    """One CT at clinical size, from file to file."""
    work, folder = options.work, options.work / "ct"
    model, volumes = work / "model", work / "volumes"
    scans = {kind: volumes / kind / f"{options.case}.nii.gz" for kind in ("ct", "noisy", "small")}
    if not scans["ct"].exists():
        made = ("--data", options.data, "--case", options.case, "--out", volumes)
        python("benchmarks.volumes", "ct", *made, "--shape", *options.shape)
    if not (model / "model.json").exists():
        patch = ("--model", options.model, "--patch", options.patch, "--out", model)
        python("benchmarks.volumes", "model", *patch)
    known = settings.help_of_predict()
    peers = [
        settings.monai_row(
            [scans[kind]], model, batch=options.peer_batch, threads=options.threads,
            runs=options.peer_runs, name=name,
        )
        for name, kind in (("monai", "ct"), ("monai-noisy", "noisy"))
    ]  # fmt: skip
    ours = [
        settings.volunet_row(s, scans[s.scan], model, known, small=scans["small"])
        for s in settings.CT
    ]
    rows = [*peers, *ours]
    measure_all(chosen(rows, options.only), folder, options.runs)
    if options.agreement:
        agree(scans["ct"], model, folder, options.threads)
    scores = score(rows, folder, volumes / "labels")
    told = {"case": options.case, "shape": options.shape, "model": facts_of(model)}
    told["engines"] = tried_engines(model)
    write_result(options, "ct", rows, folder, scores, told)


def agree(scan: Path, model: Path, folder: Path, threads: int) -> None:
    """The masks of the engines against torch's on one prepared tensor."""
    path = folder / "agreement.json"
    if not path.exists():
        paths = ("--scan", scan, "--model", model, "--keep", folder, "--json", path)
        python("benchmarks.agreement", *paths, "--threads", threads)


def run_folder(options: argparse.Namespace) -> None:
    """Small scans, one after another, from file to file."""
    if not options.hippocampus or not options.hippocampus_model:
        print("folder: not measured, as no hippocampus scans and model were named")
        return
    folder, scans = options.work / "folder", options.work / "hippocampus"
    model = options.hippocampus_model
    model = model if (model / "model.json").exists() else model / "model"
    choose_scans(options.hippocampus, options.hippocampus_model, scans)
    known = settings.help_of_predict()
    files = sorted(scans.glob("*.nii.gz"))
    peer = settings.monai_row(
        files, model, batch=options.peer_batch, threads=options.threads, runs=None
    )
    ours = [settings.volunet_row(s, scans, model, known, small=files[0]) for s in settings.FOLDER]
    rows = [peer, *ours]
    measure_all(chosen(rows, options.only), folder, options.runs)
    scores = score(rows, folder, options.hippocampus / "labels")
    told = {"scans": len(files), "model": facts_of(model), "engines": tried_engines(model)}
    write_result(options, "folder", rows, folder, scores, told)


def run_stitch(options: argparse.Namespace) -> None:
    """A network of one 1x1x1 convolution: what is left is stitching."""
    folder = options.work / "stitch"
    rows = settings.stitch_rows(
        options.nnunet_python, options.torchio_python, threads=options.threads,
        shape=options.stitch_shape, patch=options.stitch_patch,
    )  # fmt: skip
    measure_all(chosen(rows, options.only), folder, options.runs)
    told = {"shape": options.stitch_shape, "patch": options.stitch_patch, "classes": 16}
    write_result(options, "stitch", rows, folder, {}, told)


def chosen(rows: list[Row], only: list[str] | None) -> list[Row]:
    return [row for row in rows if only is None or row.name in only]


def choose_scans(data: Path, run: Path, out: Path) -> None:
    """Links to the first scans that the model was not trained on."""
    held = json.loads((run / "splits.json").read_text())["validation"][:SCANS]
    out.mkdir(parents=True, exist_ok=True)
    for case in held:
        link = out / f"{case}.nii.gz"
        if not link.exists():
            os.symlink((data / "images" / link.name).resolve(), link)


def tried_engines(model: Path) -> Facts:
    """Which engines volunet tried on this machine, and what became of them."""
    words = [settings.VOLUNET, "info", str(model), "--engines", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next((line["engines"] for line in lines if "engines" in line), {})


def score(rows: list[Row], folder: Path, references: Path) -> Facts:
    """Dice of the first run of each row, by the row's name."""
    masks = [folder / f"{row.name}_1" for row in rows]
    masks = [mask for mask in masks if any(mask.glob("*.nii.gz"))]
    if not masks:
        return {}
    peer = folder / "monai_1"
    beside = ("--peer", peer) if peer in masks else ()
    path = folder / "scores.json"
    facts = ("--references", references, *beside, "--json", path)
    python("benchmarks.scores", "--masks", *masks, *facts)
    return {name[: -len("_1")]: told for name, told in json.loads(path.read_text()).items()}


def facts_of(model: Path) -> Facts:
    """What a model says of its training."""
    said = json.loads((model / "model.json").read_text())
    plan = said["plan"]
    names = {str(value): name for name, value in plan["labels"]["structures"].items()}
    facts = {"patch": plan["patch"], "features": plan["features"], "structures": names}
    return facts | said["training"]


def write_result(
    options: argparse.Namespace,
    case: str,
    rows: list[Row],
    folder: Path,
    scores: Facts,
    told: Facts,
) -> None:
    """Medians of all that was measured, as one small JSON."""
    found = summary(rows, folder, options.runs)
    for name, facts in found.items():
        facts |= scores.get(name, {})
    agreement = folder / "agreement.json"
    if agreement.exists():
        told["agreement"] = json.loads(agreement.read_text())
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "threads": options.threads,
        **told,
        "rows": found,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    keep(options.results / f"inference_{case}.json", result)
    print(f"{case}: {options.results / f'inference_{case}.json'}", file=sys.stderr)


if __name__ == "__main__":
    main()
