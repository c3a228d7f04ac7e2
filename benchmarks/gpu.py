"""One command for whoever has a GPU: the device tests, then a large volume beside MONAI's windows.

    python -m benchmarks.gpu

The volume is noise at the size that a CT of 512 x 512 x 300 has at 1.5 mm, the network has random
weights, five stages of 32 to 320 features and 8 classes: only seconds and memory mean something.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference

from benchmarks.peers.measured import keep, versions
from benchmarks.runs import ROOT, median
from volunet.inference.cover import classify
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.models.unet import UNet

RESULTS = Path(__file__).parent / "results"
HALF = {"cuda": torch.float16, "cpu": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", type=int, nargs=3, default=[333, 333, 213])
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--features", type=int, nargs="+", default=[32, 64, 128, 256, 320])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here; --device cpu tries the command itself.")
    marks = "gpu or not gpu" if device.type == "cuda" else "not gpu"
    tests = [sys.executable, "-m", "pytest", "-q", "-m", marks, "tests/inference/test_devices.py"]
    subprocess.run(tests, check=True, cwd=ROOT)
    rows = measure_rows(options, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    facts = {"date": datetime.now(UTC).date().isoformat(), "device": name, "rows": rows}
    keep(options.out, facts | {"shape": options.shape, "versions": versions()})
    for label, row in rows.items():
        print(label, row)


def measure_rows(options: argparse.Namespace, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds and device memory of each tool in float32 and in half precision."""
    torch.manual_seed(0)
    strides = (2,) * (len(options.features) - 1)
    network = UNet(3, 1, 8, features=tuple(options.features), strides=strides).to(device).eval()
    image = np.random.default_rng(0).normal(size=(1, *options.shape)).astype(np.float32)
    patch, batch, half = (options.patch,) * 3, options.batch, HALF[device.type]

    def monai(dtype: torch.dtype) -> Any:
        on_device = torch.from_numpy(image)[None].to(device)
        with torch.inference_mode(), torch.autocast(device.type, half, dtype == half):
            logits = sliding_window_inference(
                on_device, patch, batch, network, overlap=0.5, mode="gaussian"
            )
            return logits[0].argmax(dim=0).cpu()

    def volunet(dtype: torch.dtype) -> Any:
        engine = TorchEngine(network, device=device, dtype=dtype)
        return classify((engine,), image, patch, Effort(batch=batch))

    calls: dict[str, Callable[[], Any]] = {
        "monai fp32": lambda: monai(torch.float32),
        "monai autocast": lambda: monai(half),
        "volunet fp32": lambda: volunet(torch.float32),
        "volunet half": lambda: volunet(half),
    }
    return {name: measure(call, device, options.runs) for name, call in calls.items()}


def measure(call: Callable[[], Any], device: torch.device, runs: int) -> dict[str, float]:
    call()  # warms up
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    facts = {"seconds": round(median(taken), 3)}
    if device.type == "cuda":
        facts["device_gb"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 3)
    return facts


if __name__ == "__main__":
    main()
