"""Lets a model get used to windows of another size: a few steps on patches as large as these.

    python -m benchmarks.tune --model RUN --data TRAIN.csv --patch 96 --steps 50 --out MODEL

Instance normalisation takes its statistics from a window, so weights that were learnt on small
patches, which cost little, do badly on large windows at first. Patches are drawn as in training and
not changed; AdamW, rate from 5e-4 down to 0.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.volumes import with_patch
from volunet.data.cache import prepare
from volunet.data.drawn import drawn_classes
from volunet.data.layouts import find_dataset
from volunet.data.read_case import read_case
from volunet.data.sampler import cut_patches, draw_patches
from volunet.packaging.model_file import load_weights, read_model_file, save_model
from volunet.packaging.model_place import find_model
from volunet.planning.machine import choose_dtype
from volunet.training.losses.loss import Loss
from volunet.training.optim import Optimisation, make_optimizer, rate_at, set_rate

RATE = 5e-4


@dataclass(frozen=True)
class Held:
    """A prepared case in memory."""

    case_id: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    foreground: dict[int, NDArray[np.int32]]
    drawn: NDArray[np.bool_] | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--cases", type=int, default=12, help="that are held in memory")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with_patch(options.model, options.patch, options.out)
    said = read_model_file(options.out)
    network = said.plan.build_network()
    network.load_state_dict(load_weights(options.out, said)[0])
    network.to(memory_format=torch.channels_last_3d)
    trained = json.loads((find_model(options.model).parent / "splits.json").read_text())["train"]
    cases = [case for case in find_dataset(options.data).cases if case.case_id in trained]
    held = [hold(case, said.plan) for case in cases[: options.cases]]
    started = time.monotonic()
    tune(network, held, said.plan, options.steps)
    more = {"steps": said.training.steps + options.steps}
    more["seconds"] = said.training.seconds + time.monotonic() - started
    save_model(
        options.out,
        network.state_dict(),
        name=said.name,
        plan=said.plan,
        fingerprint=said.fingerprint,
        training=said.training.model_copy(update=more),
        licence=said.licence,
        intended_use=said.intended_use,
    )


def hold(case, plan) -> Held:
    read = read_case(case, channels=len(plan.channels), labels=plan.labels)
    _, arrays = prepare(read, plan, seed=0)
    image, label = arrays.pop("image"), arrays.pop("label")
    found = {int(name.removeprefix("class ")): voxels for name, voxels in arrays.items()}
    return Held(case.case_id, image, label, found, drawn_classes(case, plan.labels))


def tune(network: nn.Module, cases: list[Held], plan, steps: int) -> None:
    rng, dtype = np.random.default_rng(0), choose_dtype("cpu")
    settings = Optimisation(method="adamw", learning_rate=RATE, warm_up=0.1)
    optimizer = make_optimizer(network, settings)
    loss_of, losses = Loss(plan), []
    for step in range(steps):
        set_rate(optimizer, rate_at(step / steps, settings))
        draws = draw_patches(cases, plan.patch, 1, foreground_share=0.8, rng=rng)
        batch = cut_patches(cases, draws, plan.patch)
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            logits = network(image)
        loss = loss_of((logits.float(),), batch.label, drawn=batch.drawn)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
        if step % 5 == 4:
            print(f"step {step + 1}: loss {np.mean(losses[-5:]):.3f}", flush=True)


if __name__ == "__main__":
    main()
