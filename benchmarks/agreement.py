"""Whether an engine's masks are torch's: both on one prepared scan, Dice of each class.

python -m benchmarks.agreement --scan SCAN --model MODEL --keep FOLDER --json FACTS
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers.measured import keep, versions
from benchmarks.scores import dice
from volunet.api.models import load
from volunet.inference.cover import classify
from volunet.inference.segmenter import Segmenter
from volunet.io.read import read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True, help="folder of torch's own answer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    exact = load(options.model, engine="torch", precision="fp32")
    image = exact.plan.prepare(read(options.scan)).voxels
    path = options.keep / "torch_fp32.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, look(exact, image))
    reference, facts = np.load(path), {}
    for precision in (None, "fp32"):
        chosen = load(options.model, precision=precision)
        for engine in chosen.engines:
            if hasattr(engine, "settle"):
                engine.settle(image)
        index = look(chosen, image)
        names = dict(enumerate(chosen.plan.labels.structures, start=1))
        found = {names[int(n)]: round(d, 5) for n, d in dice(index, reference).items()}
        facts[str(chosen.engines[0])] = {
            "dice": found,
            "equal": round(float((index == reference).mean()), 6),
        }
    keep(options.json, {"against": "torch fp32", **facts, "versions": versions()})


def look(model: Segmenter, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    effort = replace(model.effort, crop=False, skip_air=False)
    return classify(model.engines, image, model.plan.patch, effort).astype(np.uint8)


if __name__ == "__main__":
    main()
