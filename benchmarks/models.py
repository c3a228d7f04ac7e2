"""Every family of networks at one patch: seconds of a training step and of a window, and memory.

    python -m benchmarks.models --work WORK

Each measurement is a process of its own on the same processors: a training step (the default
optimiser, one patch, in the precision that volunet trains in here), and one window through each
engine; medians of `REPEATS` after one that is left out. Peaks are the kernel's, whole processes.
Networks have random weights and the features that the rules choose for this machine. Started
again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers.measured import keep, memory_gb, processor, versions
from benchmarks.runs import limit_to

RESULTS = Path(__file__).parent / "results"
REPEATS = 3
KINDS = ("train", "torch", "openvino", "onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", nargs=2, metavar=("FAMILY", "KIND"))
    parser.add_argument("--out", type=Path, default=RESULTS / "models.json")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(*options.child, options.patch)))
        return
    limit_to(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    from volunet.models.families import FAMILIES

    rows = {
        family: {kind: in_child(family, kind, options) for kind in KINDS} for family in FAMILIES
    }
    facts = {"date": datetime.now(UTC).date().isoformat(), "processor": processor()}
    facts |= {"threads": options.threads, "versions": versions(), "patch": options.patch}
    keep(options.out, facts | {"rows": rows})
    print(table(facts | {"rows": rows}))


def in_child(family: str, kind: str, options: argparse.Namespace) -> dict:
    """The row of a family, from an earlier start where there is one."""
    kept = options.work / f"{family}_{kind}_{options.patch}.json"
    if not kept.exists():
        words = [sys.executable, "-m", "benchmarks.models", "--patch", str(options.patch)]
        done = subprocess.run([*words, "--child", family, kind], capture_output=True, text=True)
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1]}
        kept.write_text(done.stdout.strip().splitlines()[-1])
        print(family, kind, kept.read_text(), flush=True)
    return json.loads(kept.read_text())


def measure(family: str, kind: str, side: int) -> dict:
    """Seconds, and the peak memory of this process."""
    import torch

    from volunet.api.zoo import plan_for_patch
    from volunet.planning.machine import this_machine

    torch.manual_seed(0)
    machine = this_machine(torch.device("cpu"))
    plan = plan_for_patch(family, (side,) * 3, channels=1, classes=2, machine=machine)
    network = plan.build_network()
    seen = [p + 2 * around for p, around in zip(plan.patch, plan.margin, strict=True)]
    image = torch.randn(1, 1, *seen)
    call = trained(network, image, plan) if kind == "train" else engine(kind, network, image)
    call()
    took = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    weights = sum(weight.numel() for weight in network.parameters())
    return {
        "seconds": round(statistics.median(took), 4),
        "peak_gb": round(memory_gb("VmHWM"), 3),
        "parameters": weights,
        "patch": list(plan.patch),
    }


def trained(network, image, plan) -> Callable[[], None]:
    """A training step."""
    import torch

    from volunet.inference.engines.torch_engine import to_channels_last
    from volunet.planning.machine import training_dtype
    from volunet.training.losses.loss import Loss
    from volunet.training.optim import Optimisation, make_optimizer

    to_channels_last(network)
    optimizer, loss_of = make_optimizer(network, Optimisation()), Loss(plan)
    label = torch.randint(0, 2, (1, *plan.patch))
    dtype = training_dtype("cpu")
    image = image.contiguous(memory_format=torch.channels_last_3d)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = network(image)
        loss_of((logits,), label).backward()
        optimizer.step()

    network.train()
    return step


def engine(kind: str, network, image) -> Callable[[], None]:
    """A window through an engine, in float32."""
    import torch

    from volunet.inference.engines import onnx_engine, openvino_engine
    from volunet.inference.engines.engine import Network
    from volunet.inference.engines.torch_engine import TorchEngine

    told = Network(network.eval(), 1, tuple(image.shape[2:]), "zoo")
    if kind == "torch":
        runs = TorchEngine(network, device="cpu")
    elif kind == "openvino":
        runs = openvino_engine.OpenVinoEngine(openvino_engine.convert(told))
    else:
        runs = onnx_engine.OnnxEngine(onnx_engine.convert(told), device=torch.device("cpu"))
    return lambda: runs(image)


def table(facts: dict) -> str:
    """The rows for the documentation."""
    head = ["family", "10^6 weights", "step s", "step GB"]
    head += [f"{kind} s" for kind in KINDS[1:]] + ["least GB of a window"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for family, row in facts["rows"].items():
        windows = [row[kind] for kind in KINDS[1:]]
        least = min((w["peak_gb"] for w in windows if "peak_gb" in w), default=None)
        cells = [
            family,
            _told(row["train"], "parameters", 1e6, ".2f"),
            _told(row["train"], "seconds", 1, ".2f"),
            _told(row["train"], "peak_gb", 1, ".2f"),
            *(_told(w, "seconds", 1, ".2f") for w in windows),
            "" if least is None else f"{least:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(row: dict, name: str, unit: float, form: str) -> str:
    return format(row[name] / unit, form) if name in row else "fails"


if __name__ == "__main__":
    main()
