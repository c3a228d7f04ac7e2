"""Training as MONAI's tutorials do it: a cached dataset, random dictionary transforms, float32.

    python -m benchmarks.peers.monai_training --data DATASET --plan plan.json --steps 20 --json OUT

The network is volunet's plan built from torch's own modules. OUT gets the second at which each step
ended, waiting for data counted in.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandGaussianNoised,
    RandScaleIntensityd,
    Spacingd,
    SpatialPadd,
)

from benchmarks.peers.measured import keep
from benchmarks.peers.plain_unet import PlainUNet

CASES, WORKERS = 40, 1
BOTH = ["image", "label"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    plan = json.loads(options.plan.read_text())
    images = sorted((options.data / "images").glob("*.nii.gz"))[:CASES]
    cases = [{"image": p, "label": options.data / "labels" / p.name} for p in images]
    dataset = CacheDataset(cases, transforms(plan), num_workers=WORKERS, progress=False)
    loader = DataLoader(dataset, batch_size=plan["batch"], shuffle=True, num_workers=WORKERS)
    keep(options.json, {"ends": train(plan, loader, options.steps)})


def transforms(plan: dict) -> Compose:
    """Fixed ones, which are cached, and random ones of the kinds that volunet has."""
    patch, turn = plan["patch"], np.deg2rad(15)
    return Compose(
        [
            LoadImaged(BOTH),
            EnsureChannelFirstd(BOTH),
            Orientationd(BOTH, axcodes="RAS"),
            Spacingd(BOTH, pixdim=plan["spacing"], mode=("bilinear", "nearest")),
            NormalizeIntensityd("image"),
            SpatialPadd(BOTH, patch),
            RandCropByPosNegLabeld(BOTH, "label", patch, pos=1, neg=1, num_samples=1),
            RandAffined(
                BOTH,
                prob=0.5,
                rotate_range=(turn,) * 3,
                scale_range=(0.2,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            RandGaussianNoised("image", prob=0.1, std=0.1),
            RandScaleIntensityd("image", factors=0.25, prob=0.15),
            RandAdjustContrastd("image", prob=0.2, gamma=(0.7, 1.5)),
        ]
    )


def train(plan: dict, loader: DataLoader, steps: int) -> list[float]:
    classes = 1 + len(plan["labels"]["structures"])
    network = PlainUNet(plan, classes).train()
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, nesterov=True)
    ends: list[float] = []
    while True:
        for batch in loader:
            if len(batch["image"]) < plan["batch"]:
                continue
            optimizer.zero_grad()
            loss = loss_of(network(batch["image"]), batch["label"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
            optimizer.step()
            ends.append(time.perf_counter())
            if len(ends) == steps:
                return ends


if __name__ == "__main__":
    main()
