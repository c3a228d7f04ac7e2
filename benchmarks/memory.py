"""Predicted against measured peak memory of training and of segmenting, each in its own process.

    python benchmarks/memory.py

Each row trains a few steps, or segments one scan of noise, with a network of random weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PLANS = {
    "hippocampus": {"patch": [40, 56, 40], "features": [16, 32, 64, 128], "classes": 2},
    "ct organs": {"patch": [64, 64, 48], "features": [16, 32, 64, 128, 256], "classes": 7},
    "many classes": {"patch": [64, 64, 64], "features": [16, 32, 64, 128], "classes": 30},
    "computed again": {"patch": [96, 96, 96], "features": [16, 32, 64, 128, 256], "classes": 2},
}
SCANS = {"hippocampus": (40, 56, 40), "ct organs": (192, 192, 128)}
SCANS["many classes"] = (160, 160, 128)
RECOMPUTED = "computed again"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "PLAN"))
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(*options.child)))
        return
    rows = []
    for name in PLANS:
        for what in ("train", *(["segment"] if name in SCANS else [])):
            command = [sys.executable, __file__, "--child", what, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append({"what": what, "plan": name, **json.loads(done.stdout)})
            print(rows[-1], flush=True)
    result = {"date": datetime.now(UTC).date().isoformat(), "rows": rows}
    (RESULTS / "memory.json").write_text(json.dumps(result, indent=2) + "\n")


def measure(what: str, name: str) -> dict[str, float]:
    """Predicted and measured peak of this process, 10^9 bytes."""
    import resource

    import volunet.api.training  # what the command loads
    import volunet.io.read  # noqa: F401

    plan = make(name)
    predicted = train(plan) if what == "train" else segment(plan, SCANS[name])
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "predicted_gb": round(predicted / 1e9, 3),
        "measured_gb": round(measured / 1e9, 3),
        "ratio": round(predicted / measured, 3),
    }


def make(name: str):
    from volunet.planning.intensity import Intensity
    from volunet.planning.plan import Plan
    from volunet.planning.rules import choose_kernels, choose_strides
    from volunet.space.labels import Labels

    facts = PLANS[name]
    spacing = (1.0, 1.0, 1.0)
    strides = choose_strides(tuple(facts["patch"]), spacing, most=len(facts["features"]) - 1)
    return Plan(
        channels=("MR",),
        labels=Labels(structures={f"label {n}": n for n in range(1, facts["classes"] + 1)}),
        spacing=(1, 1, 1),
        patch=facts["patch"],
        intensities=(Intensity(scheme="image"),),
        features=facts["features"],
        strides=strides,
        kernels=choose_kernels(spacing, strides),
        batch=2,
        recompute=name == RECOMPUTED,
    )


def train(plan) -> float:
    import numpy as np
    import torch

    from volunet.data.cache import Prepared
    from volunet.planning.machine import training_dtype
    from volunet.planning.memory import training_bytes
    from volunet.space.grid import Grid
    from volunet.training.allocator import keep_freed_memory
    from volunet.training.budget import Budget
    from volunet.training.fit import fit
    from volunet.training.job import Job
    from volunet.training.settings import Training

    keep_freed_memory()  # as the command does
    rng = np.random.default_rng(0)
    shape = plan.patch
    label = rng.integers(0, plan.labels.classes, shape).astype(np.uint8)
    image = rng.standard_normal((1, *shape), dtype=np.float32)
    voxels = {1: np.argwhere(label == 1).astype(np.int32)[:5000]}
    case = Prepared("noise", image, label, voxels, Grid(shape, np.eye(4)))
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            plan, Training(checkpoint_s=0.5), [case], [], Budget(steps=6), Path(folder),
            torch.device("cpu"),
        )  # fmt: skip
        fit(job)
    return training_bytes(plan, half=training_dtype("cpu").itemsize == 2)


def segment(plan, shape: tuple[int, int, int]) -> float:
    import numpy as np
    import torch

    from volunet.inference.effort import Effort
    from volunet.inference.engines.torch_engine import TorchEngine
    from volunet.inference.segmenter import Segmenter
    from volunet.io.header import Header
    from volunet.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
    from volunet.planning.foresight import Way, inference_demand
    from volunet.planning.machine import choose_dtype
    from volunet.space.grid import Grid
    from volunet.space.volume import Volume

    quantiles = tuple(float(q) for q in np.linspace(-3, 3, 19))
    channel = ChannelFacts(image=quantiles, foreground=quantiles, count=1, mean=0, sd=1)
    facts = CaseFacts(shape=shape, spacing=(1, 1, 1), channels=(channel,), volumes_ml={})
    engine = TorchEngine(plan.build_network(), device="cpu", dtype=choose_dtype("cpu"))
    segmenter = Segmenter(
        (engine,), plan, Fingerprint(cases={"1": facts}), "noise", Effort(overlap=plan.overlap)
    )
    torch.manual_seed(0)
    noise = np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)
    segmenter(Volume(noise, Grid(shape, np.eye(4))))
    header = Header(Grid(shape, np.eye(4)), 1, np.dtype("f4"))
    return inference_demand(plan, header, Way(engines=(str(engine),))).total


if __name__ == "__main__":
    main()
