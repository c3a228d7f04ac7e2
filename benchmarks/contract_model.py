"""The small network of `contract.py`: learned on phantoms for a few minutes, so masks are no noise.

    python -m benchmarks.contract_model MODEL --structures 23

Features 8, 16, 32; it sees patches of 48^3 of small phantoms in training and windows of 96^3 later.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import phantom
from volunet.packaging.model_file import Training, save_model
from volunet.planning.fingerprint import Fingerprint, take_facts
from volunet.planning.intensity import Intensity, normalise
from volunet.planning.plan import Plan
from volunet.space.labels import Labels

FEATURES = (8, 16, 32)
SIDE = 48
BATCH = 2
SMALL = (256, 256, 256)


def make_plan(structures: int, *, patch: int = 96) -> Plan:
    """A plan whose grid is that of the phantom's scans."""
    mm = phantom.SPACING_MM
    return Plan(
        channels=("CT",),
        labels=Labels(structures={f"structure {n}": n for n in range(1, structures + 1)}),
        spacing=(mm, mm, mm),
        patch=(patch,) * 3,
        intensities=(Intensity(scheme="set", low=-1024, high=1500, mean=0, sd=500),),
        features=FEATURES,
        strides=((2, 2, 2),) * 2,
        kernels=((3, 3, 3),) * 3,
        batch=BATCH,
    )


def draw(image: np.ndarray, label: np.ndarray, places: dict, rng: np.random.Generator):
    """A patch about a voxel of a structure, one of all structures alike."""
    structure = rng.choice([s for s, found in places.items() if len(found)])
    centre = rng.choice(places[structure])
    start = np.clip(centre - rng.integers(0, SIDE, 3), 0, np.array(label.shape) - SIDE)
    box = tuple(slice(a, a + SIDE) for a in start)
    return torch.from_numpy(image[box].copy()), torch.from_numpy(label[box].astype(np.int64))


def learn(plan: Plan, steps: int, *, seed: int = 0) -> tuple[nn.Module, Fingerprint, float]:
    """The network after so many steps on two phantoms, and its last mean loss."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    structures = len(plan.labels.structures)
    cases, facts = [], {}
    for n in (1, 2):
        scan, mask = phantom.make(SMALL, structures, seed=seed + n, with_labels=True)
        facts[str(n)] = take_facts(scan, mask, plan.labels)
        image, label = (v.reoriented("RAS").voxels[0] for v in (scan, mask))
        places = {s: np.argwhere(label == s)[::5] for s in range(1, structures + 1)}
        cases.append((normalise(image, plan.intensities[0]), label, places))
    network = plan.build_network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    losses = []
    for step in range(steps):
        patches = [draw(*cases[(step + i) % 2], rng) for i in range(BATCH)]
        images, truth = (torch.stack(part) for part in zip(*patches, strict=True))
        loss = F.cross_entropy(network(images[:, None].float()), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            print(f"step {step + 1}: {np.mean(losses[-50:]):.4f}", flush=True)
    return network.eval(), Fingerprint(cases=facts), float(np.mean(losses[-50:]))


def make_model(folder: Path, structures: int, *, steps: int = 500, seed: int = 0) -> Path:
    """A model folder, as `volunet predict` takes it; one that is there already is kept."""
    if not (folder / "model.json").exists():
        plan = make_plan(structures)
        network, fingerprint, _ = learn(plan, steps, seed=seed)
        training = Training(cases=2, steps=steps, seconds=0, seed=seed, validation_dice={})
        save_model(
            folder,
            network.state_dict(),
            name=f"phantom of {structures} structures",
            plan=plan,
            fingerprint=fingerprint,
            training=training,
        )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structures", type=int, default=23)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    make_model(options.folder, options.structures, steps=options.steps)


if __name__ == "__main__":
    main()
