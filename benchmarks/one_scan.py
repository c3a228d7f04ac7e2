"""One scan from file to file through volunet's Python API, with each measure switched on or off.

    python -m benchmarks.one_scan --scan SCAN --model MODEL --out OUT --json FACTS \\
        --engine torch --precision fp32 --everywhere --dense --threads 1
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.peers.measured import Stopwatch, keep, memory_gb, versions

STARTED = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision")
    parser.add_argument("--everywhere", action="store_true", help="neither crop nor skip air")
    parser.add_argument("--dense", action="store_true", help="all logits at once, on both grids")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    clock = Stopwatch()
    with clock.step("imports"):
        import torch

        from volunet.api.models import load
        from volunet.io.read import read
        from volunet.io.write import write
    torch.set_num_threads(options.threads)
    with clock.step("model"):
        segment = load(options.model, engine=options.engine, precision=options.precision)
        less = not options.everywhere
        segment = segment.with_effort(replace(segment.effort, crop=less, skip_air=less))
    with clock.step("read"):
        scan = read(options.scan)
    if options.dense:
        labels, told = densely(segment, scan, clock.step), {}
        clock.steps["stitch"] -= clock.steps["network"]
    else:
        made = segment(scan)
        labels, told = made.labels, made.how
        clock.steps |= made.steps
    with clock.step("write"):
        options.out.mkdir(parents=True, exist_ok=True)
        write(labels, options.out / options.scan.name)
    facts = {
        "seconds_inside": round(time.perf_counter() - STARTED, 3),
        "steps_s": clock.rounded(),
        "windows": told.get("windows"),
        "engine": told.get("engines"),
        "peak_gb": round(memory_gb("VmHWM"), 3),
        "versions": versions(),
    }
    keep(options.json, facts)


def densely(segment: Any, scan: Any, step: Any) -> Any:
    """Labels the way peers make them: a map of all classes on the plan's grid, and on the scan's.

    Cropping, skipping and tidying are left out.
    """
    import numpy as np
    import torch

    from volunet.inference.cover import cover
    from volunet.space.resample import resample
    from volunet.space.volume import Volume

    grid = segment.plan.grid_for(scan.grid)
    with timed(step, "prepare"):
        seen = segment.plan.prepare(scan)
    with timed(step, "choose"):
        for engine in segment.engines:
            if hasattr(engine, "settle"):
                engine.settle(seen.voxels)
    engines = [clocked(engine, step) for engine in segment.engines]
    whole = np.empty((segment.plan.labels.classes, *grid.shape), dtype=np.float32)
    with timed(step, "stitch"):  # and the network, which is taken off again
        for box, logits in cover(engines, seen.voxels, segment.plan.patch, segment.effort):
            whole[(slice(None), *box.index)] = logits.float().cpu().numpy()
    with timed(step, "return"):
        back = resample(Volume(whole, grid), scan.grid)
        index = torch.from_numpy(back.voxels).argmax(dim=0).to(torch.uint8).numpy()
    return Volume(segment.plan.labels.to_values(index)[None], scan.grid)


def timed(step: Any, name: str) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = step(name)
    return context


def clocked(engine: Any, step: Any) -> Any:
    def look(windows: Any) -> Any:
        with step("network"):
            return engine(windows)

    return look


if __name__ == "__main__":
    main()
