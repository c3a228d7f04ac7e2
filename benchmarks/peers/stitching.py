"""What stitching costs beside the network: one network that costs next to nothing, many windows.

A 1x1x1 convolution to 16 classes over 320 x 320 x 256, windows of 128, overlap 0.5. The stitching
time is that of the whole run, image to labels, less that of the same network called alone on the
same windows. Memory is the most that was held above what was held before the first window.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

from benchmarks.peers.measured import Stopwatch, forget_peak, keep, memory_gb, versions

Network = Callable[[Any], Any]
Run = Callable[[Network, Any], Any]
"""Takes a network and an image (1, I, J, K); gives class indices (I, J, K)."""


def options_of(about: str) -> argparse.Namespace:
    """What every tool is asked."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(320, 320, 256))
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--classes", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--labels", type=Path, help="where the class indices are kept")
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


def pointwise(classes: int) -> Any:
    """The network: the class whose line is highest at a voxel's intensity wins there."""
    import torch

    network = torch.nn.Conv3d(1, classes, 1)
    slopes = torch.linspace(-3, 3, classes)
    with torch.no_grad():
        network.weight.copy_(slopes.view(-1, 1, 1, 1, 1))
        network.bias.copy_(-slopes.square() / 2)
    return network.eval()


def make_image(shape: tuple[int, ...]) -> Any:
    """Noise with structure, (1, I, J, K)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    image = torch.randn((1, *shape), generator=generator)
    return image + torch.linspace(-2, 2, shape[-1])


def cut(image: Any, patch: int) -> Iterator[Any]:
    """The windows, half a patch apart, in copies of their own."""
    starts = [range(0, n - patch + 1, patch // 2) for n in image.shape[1:]]
    for at in product(*starts):
        yield image[(slice(None), *(slice(s, s + patch) for s in at))].clone()


def measure(run: Run, network: Network, options: argparse.Namespace, **also: Any) -> None:
    """Times a run and the network alone, and keeps what came out."""
    import torch

    torch.set_num_threads(options.threads)
    image = make_image(tuple(options.shape))
    clock = Stopwatch()
    with torch.inference_mode():
        alone(network, list(islice(cut(image, options.patch), 2)), options.batch)  # warms up
        before = memory_gb("VmRSS")
        forget_peak()
        started = time.perf_counter()
        labels = run(clock.timed(network, "network"), image)
        seconds = time.perf_counter() - started
        peak = memory_gb("VmHWM")
        if options.labels:
            import numpy as np

            options.labels.parent.mkdir(parents=True, exist_ok=True)
            np.save(options.labels, np.asarray(labels).astype(np.uint8))
        del labels
        alone_s = alone(network, list(cut(image, options.patch)), options.batch)
    facts = {
        "seconds": round(seconds, 3),
        "network_alone_s": round(alone_s, 3),
        "network_within_s": round(clock.steps["network"], 3),
        "stitching_s": round(seconds - alone_s, 3),
        "above_gb": round(peak - before, 3),
        "before_gb": round(before, 3),
        "versions": versions(),
        **also,
    }
    keep(options.json, facts)


def alone(network: Network, windows: list[Any], batch: int) -> float:
    """Seconds that the network takes for the windows, with nothing else done."""
    import torch

    groups = [torch.stack(windows[n : n + batch]) for n in range(0, len(windows), batch)]
    started = time.perf_counter()
    for group in groups:
        network(group)
    return time.perf_counter() - started
