"""Models of nnU-Net's own making for `benchmarks.nnunet`: hippocampus, trained for one short epoch.

    python -m benchmarks.peers.nnunet_models --nnunet-python PYTHON --data HIPPOCAMPUS \\
        --splits splits_final.json --out OUT

nnU-Net plans, trains and names everything by its own commands; only patch, batch and features are
made smaller in its plans, so that its steps (250, by default) end in minutes on a CPU. OUT holds
one model folder for its plain and one for its residual encoder, and scans of cases that neither was
trained on: 20 as they are, one of them again with slices of 3.5 mm, and one mosaic of 210 x 208 x
210 voxels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volunet.io.read import read
from volunet.io.write import write
from volunet.space.grid import Grid
from volunet.space.resample import resample
from volunet.space.volume import Volume

SET = "Dataset004_Hippocampus"
PLANS = {"plain": ("ExperimentPlanner", "nnUNetPlans")}
PLANS |= {"residual": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans")}
MOST_BLOCKS = 2
TRAINER = "nnUNetTrainer_1epoch"
STEPS, VALIDATING = 250, 5
TRAIN = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.run.run_training import run_training_entry

begin = nnUNetTrainer.on_train_start

def begin_shortly(self):
    begin(self)
    self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = {steps}, {validating}

nnUNetTrainer.on_train_start = begin_shortly
run_training_entry()
"""
"""Its own training, with fewer steps to an epoch: it has no setting for that."""
SCANS = 20
THICK_MM = 3.5
MOSAIC, CELLS = (210, 208, 210), (42, 52, 42)


@dataclass(frozen=True)
class Sizes:
    """What is changed in nnU-Net's plans."""

    patch: tuple[int, int, int] = (40, 56, 40)
    batch: int = 2
    features: tuple[int, ...] = (16, 32, 64, 128)


SIZES = Sizes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnunet-python", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="hippocampus")
    parser.add_argument("--splits", type=Path, required=True, help="nnU-Net's splits_final.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=PLANS, default=[*PLANS])
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    options = parser.parse_args()
    out: Path = options.out
    held_out = json.loads(options.splits.read_text())[0]["val"]
    make_scans(options.data, held_out, out / "scans")
    make_raw(options.data, out / "raw" / SET)
    tool = Tool(options.nnunet_python.parent, out)
    for kind in options.kinds:
        planner, plans = PLANS[kind]
        model = out / "results" / SET / f"{TRAINER}__{plans}__3d_fullres"
        if not (model / "fold_0" / "checkpoint_final.pth").exists():
            tool.prepare(planner, plans, options.splits, SIZES)
            tool.train(plans, model, options.steps)
        print(f"{kind}: {model}", flush=True)


class Tool:
    """nnU-Net's commands, with its folders in `out`."""

    def __init__(self, commands: Path, out: Path) -> None:
        self.commands, self.out = commands, out
        places = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed"}
        places["nnUNet_results"] = "results"
        self.environment = {**os.environ, **{k: str(out / v) for k, v in places.items()}}
        self.environment |= {"nnUNet_compile": "f", "nnUNet_n_proc_DA": "1"}

    def __call__(self, name: str, *words: str) -> None:
        command = [str(self.commands / name), *words]
        subprocess.run(command, check=True, env=self.environment, stdout=subprocess.DEVNULL)

    def prepare(self, planner: str, plans: str, splits: Path, sizes: Sizes) -> dict[str, Any]:
        """Fingerprint, plans of other sizes, prepared cases and splits; gives the configuration."""
        folder = self.out / "preprocessed" / SET
        self("nnUNetv2_extract_fingerprint", "-d", "4", "-np", "2")
        self("nnUNetv2_plan_experiment", "-d", "4", "-pl", planner)
        path = folder / f"{plans}.json"
        said = json.loads(path.read_text())
        configuration = said["configurations"]["3d_fullres"]
        shrink(configuration, sizes)
        path.write_text(json.dumps(said, indent=2))
        self("nnUNetv2_preprocess", "-d", "4", "-plans_name", plans, "-c", "3d_fullres", "-np", "2")
        (folder / "splits_final.json").write_text(splits.read_text())
        return configuration

    def train(self, plans: str, model: Path, steps: int) -> None:
        """One epoch of so many steps; it is ended before nnU-Net segments its validation cases."""
        code = TRAIN.format(steps=steps, validating=VALIDATING)
        self.run_until(model / "fold_0" / "checkpoint_final.pth", code, plans)

    def run_until(self, sign: Path, code: str, plans: str, trainer: str = TRAINER) -> None:
        """Its training with some code before it, ended once a file is there."""
        words = ["4", "3d_fullres", "0", "-tr", trainer, "-p", plans, "-device", "cpu"]
        log = (self.out / f"train_{plans}.log").open("w")
        process = subprocess.Popen(
            [self.commands / "python", "-c", code, *words],
            env=self.environment, stdout=log, stderr=log,
        )  # fmt: skip
        while not sign.exists():
            if process.poll() is not None:
                raise RuntimeError(f"nnU-Net ended with {process.returncode}; see {log.name}.")
            time.sleep(2)
        time.sleep(5)  # the file is being written
        process.terminate()
        process.wait()


def shrink(configuration: dict[str, Any], sizes: Sizes) -> None:
    """Another patch, batch and network: as many stages as features."""
    configuration |= {"patch_size": sizes.patch, "batch_size": sizes.batch}
    network = configuration["architecture"]["arch_kwargs"]
    stages = len(sizes.features)
    network |= {"n_stages": stages, "features_per_stage": sizes.features}
    for name in ("kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage"):
        if name in network:
            network[name] = network[name][:stages]
    if "n_blocks_per_stage" in network:
        network["n_blocks_per_stage"] = [min(n, MOST_BLOCKS) for n in network["n_blocks_per_stage"]]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][: stages - 1]


def make_raw(data: Path, folder: Path) -> None:
    """The cases in nnU-Net's naming, as links."""
    for kind, ours, ending in (("imagesTr", "images", "_0000"), ("labelsTr", "labels", "")):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in sorted((data / ours).glob("*.nii.gz")):
            link = folder / kind / path.name.replace(".nii.gz", f"{ending}.nii.gz")
            if not link.exists():
                link.symlink_to(path.resolve())
    told = {"channel_names": {"0": "MRI"}, "file_ending": ".nii.gz"}
    told |= {"labels": {"background": 0, "anterior": 1, "posterior": 2}}
    told["numTraining"] = len(list((folder / "labelsTr").iterdir()))
    (folder / "dataset.json").write_text(json.dumps(told))


def make_scans(data: Path, cases: list[str], out: Path) -> None:
    """`small/` as they are, `thick/` with thick slices, `mosaic/` many in one."""
    scans = [data / "images" / f"{case}.nii.gz" for case in cases]
    for kind in ("small", "thick", "mosaic"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    for path in scans[:SCANS]:
        link = out / "small" / path.name.replace(".nii.gz", "_0000.nii.gz")
        if not link.exists():
            link.symlink_to(path.resolve())
    write(thick(read(scans[0])), out / "thick" / "thick_0000.nii.gz")
    write(mosaic([read(path) for path in scans]), out / "mosaic" / "mosaic_0000.nii.gz")


def thick(scan: Volume) -> Volume:
    """The scan with slices of `THICK_MM` along its last axis."""
    grid = scan.grid
    zoom = THICK_MM / grid.spacing[2]
    shape = (*grid.shape[:2], round(grid.shape[2] / zoom))
    return resample(scan, Grid(shape, grid.affine @ np.diag([1, 1, zoom, 1])))


def mosaic(scans: list[Volume]) -> Volume:
    """Scans side by side, each cut or mirrored at its edges to a cell, scaled to a mean of 1000."""
    whole = np.zeros(MOSAIC, dtype=np.float32)
    for n, place in enumerate(np.ndindex(*(a // b for a, b in zip(MOSAIC, CELLS, strict=True)))):
        voxels = scans[n % len(scans)].voxels[0].astype(np.float32)
        sides = [max(c - v, 0) for c, v in zip(CELLS, voxels.shape, strict=True)]
        cell = np.pad(voxels, [(s // 2, s - s // 2) for s in sides], "symmetric")
        start = [p * c for p, c in zip(place, CELLS, strict=True)]
        box = tuple(slice(a, a + c) for a, c in zip(start, CELLS, strict=True))
        whole[box] = 1000 * (cell / cell.mean())[tuple(slice(c) for c in CELLS)]
    return Volume(np.rint(whole).astype(np.int16)[None], Grid(MOSAIC, np.eye(4)))


if __name__ == "__main__":
    main()
