"""Memory as a contract: what segmenting a scan will take, and how to look at it within a limit.

Three levers shrink the sums of logits, which are most of it: sums of two bytes, strips, and single
windows. Two bytes cost an error of about 2^-11 of a logit, which estimates of values are spared;
strips cost windows that are looked at twice, and change nothing, so a few of them come first. The
cheapest setting that fits is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import ceil

import torch

from volunet.findings import Finding, Refused, finding
from volunet.inference.effort import Effort
from volunet.inference.engines.auto import AutoEngine
from volunet.inference.engines.candidates import REFERENCE
from volunet.inference.engines.engine import Engine
from volunet.inference.windows import Tiling
from volunet.io.header import Header
from volunet.planning.any_plan import AnyPlan
from volunet.planning.foresight import MAPS, Demand, Way, inference_demand
from volunet.planning.machine import GB

STRIPS = (1, 2, 3, 4, 6, 8, 12, 16)
HALF_COST = 1.35
"""What sums of two bytes are counted as, in time: more than two strips, less than four. They are as
fast as sums of four, but give another class to some 2 in 10,000 voxels of the foreground."""
SINGLE_COST = 1.02
"""What it costs to give the network one window at a time rather than a batch."""


@dataclass(frozen=True)
class Foreseen:
    """How a scan will be looked at, and the memory that takes.

    Args:
        tried: engines that are not chosen yet may be tried against each other first; else torch in
            float32 is taken, which is known to be right.
    """

    effort: Effort
    demand: Demand
    tried: bool = True

    def __str__(self) -> str:
        effort = self.effort
        strips = "one piece" if effort.strips == 1 else f"{effort.strips} strips"
        return f"{strips}, sums in {str(effort.accumulator).removeprefix('torch.')}"


def foresee(
    plan: AnyPlan,
    scan: Header,
    engines: Sequence[Engine | str],
    effort: Effort,
    *,
    limit: float | None = None,
    beside: float = 0.0,
    hurried: bool = False,
) -> Foreseen:
    """How a scan will be looked at: as hard as `effort` says, within the limit.

    Args:
        engines: the networks of an ensemble; by name, such as "torch fp32", where they are not
            built yet.
        limit: bytes that the process may hold in memory, and on a GPU.
        beside: bytes that other scans take meanwhile.
        hurried: there is a deadline, which takes more maps of labels.

    Raises:
        Refused: not even the leanest way fits (RES-MEMORY).
    """
    least: Foreseen | None = None
    for tried in (True, False) if all(map(_may_go_untried, engines)) else (True,):
        for option in [effort] if limit is None else _options(plan, scan, effort):
            way = replace(_way(engines, option, tried), hurried=hurried)
            demand = inference_demand(plan, scan, way, beside=beside)
            foreseen = Foreseen(option, demand, tried)
            if limit is None or demand.largest <= limit:
                return foreseen
            if least is None or demand.largest < least.demand.largest:
                least = foreseen
    assert least is not None, "there is at least one way"
    assert limit is not None, "without a limit every way will do"
    raise Refused([_too_much(scan, plan, least.demand.largest, limit)])


def _may_go_untried(engine: Engine | str) -> bool:
    """An engine that was asked for by name is not replaced by another one to save memory."""
    return not isinstance(engine, AutoEngine) or engine.may_go_untried


def _options(plan: AnyPlan, scan: Header, effort: Effort) -> list[Effort]:
    """All ways to look so hard, the cheapest in time first."""
    shape = plan.grid_for(scan.grid).shape
    padded = tuple(map(max, shape, plan.patch))
    starts = Tiling.regular(padded, plan.patch, effort.overlap).starts[1]
    fixed = effort.accumulator.itemsize == 2 or plan.targets is not None
    kinds = (effort.accumulator,) if fixed else (effort.accumulator, torch.float16)
    options = []
    for strips, kind, batch in product(STRIPS, kinds, sorted({effort.batch, 1}, reverse=True)):
        if strips > shape[1]:
            continue
        cost = _looks(starts, plan.patch[1], shape[1], strips) / len(starts)
        cost *= (1 if kind == effort.accumulator else HALF_COST) * (
            1 if batch == effort.batch else SINGLE_COST
        )
        options.append((cost, replace(effort, strips=strips, accumulator=kind, batch=batch)))
    return [option for _, option in sorted(options, key=lambda priced: priced[0])]


def _looks(starts: Sequence[int], patch: int, length: int, strips: int) -> int:
    """How many windows along the second axis are looked at, those across a border twice."""
    edges = [round(i * length / strips) for i in range(strips + 1)]
    return sum(
        start < stop + 1 and start + patch > first
        for first, stop in pairwise(edges)
        for start in starts
    )


def _way(engines: Sequence[Engine | str], effort: Effort, tried: bool) -> Way:
    possible: set[str] = set()
    trial, on_gpu = False, False
    for engine in engines:
        if isinstance(engine, AutoEngine):
            trial = trial or (tried and engine.needs_trial)
            possible |= {str(REFERENCE)} if engine.needs_trial and not tried else {*engine.possible}
        else:  # one of a caller's own is taken for torch
            possible.add(str(engine) if str(engine) in MAPS else str(REFERENCE))
        on_gpu = on_gpu or getattr(engine, "device", torch.device("cpu")).type == "cuda"
    return Way(
        engines=tuple(sorted(possible)),
        tried=trial,
        accumulator=effort.accumulator.itemsize,
        strips=effort.strips,
        batch=effort.batch,
        networks=len(engines),
        looks=len(effort.mirrors),
        on_gpu=on_gpu,
    )


def _too_much(scan: Header, plan: AnyPlan, needed: float, limit: float) -> Finding:
    size = " x ".join(map(str, scan.grid.shape))
    doing = f"Segmenting {size} voxels into {plan.labels.classes} classes"
    if plan.targets is not None:
        doing = f"Estimating {', '.join(plan.targets.names)} of {size} voxels"
    message = (
        f"{doing} would take "
        f"{needed / GB:.2f} GB at the least, and {limit / GB:.2f} GB are allowed."
    )
    return finding(
        "RES-MEMORY",
        message,
        advice=f"Allow {ceil(needed / GB * 10) / 10:.1f} GB, or use a machine that has them.",
        needed_gb=round(needed / GB, 3),
        limit_gb=round(limit / GB, 3),
    )
