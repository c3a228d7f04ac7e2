"""Memory as a contract: what segmenting a scan will take, and how to look at it within a limit.

Three levers shrink the sums of logits, which are most of it: sums of two bytes, strips, and single
windows. Two bytes cost an error of about 2^-11 of a logit, which estimates of values are spared;
strips cost windows that are looked at twice, and change nothing, so a few of them come first. The
cheapest setting that fits is taken. Nobody need ask for a limit: without one the machine's memory
is, as a scan too large for it would end the whole run without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise, product
from math import ceil, inf

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
from volunet.planning.machine import GB, host_memory_bytes
from volunet.space.grid import Grid

STRIPS = (1, 2, 3, 4, 6, 8, 12, 16)
HALF_COST = 1.35
"""What sums of two bytes are counted as, in time: more than two strips, less than four. They are as
fast as sums of four, but give another class to some 2 in 10,000 voxels of the foreground."""
SINGLE_COST = 1.02
"""What it costs to give the network one window at a time rather than a batch."""


USABLE = 0.9
"""Share of the machine's memory, or of its GPU's, that is taken unasked: others need some."""


@dataclass(frozen=True)
class Room:
    """Bytes that may be held at once.

    Args:
        host: in the machine's memory.
        gpu: in a GPU's.
        asked: somebody set this limit; else it is what the machine has.
    """

    host: float
    gpu: float
    asked: bool

    @classmethod
    def of(cls, limit: float | None, engines: Sequence[Engine | str]) -> Room:
        """What somebody allows, or what there is where these engines run."""
        if limit is not None:
            return cls(limit, limit, True)
        devices = {getattr(engine, "device", torch.device("cpu")) for engine in engines}
        gpus = [torch.cuda.get_device_properties(d) for d in devices if d.type == "cuda"]
        gpu = min((float(g.total_memory) for g in gpus), default=inf)
        return cls(USABLE * host_memory_bytes(), USABLE * gpu, False)

    def filled(self, demand: Demand) -> float:
        """Share of it that this takes; above 1 it does not fit."""
        return max(demand.total / self.host, demand.gpu / self.gpu)

    def admits(self, demand: Demand) -> bool:
        """Whether this may be tried where nothing leaner will do.

        A GPU that is short of memory says so, and ends one scan; a machine kills the process.
        """
        return self.filled(demand) <= 1 or (not self.asked and demand.total <= self.host)


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
    how: Way | None = None,
) -> Foreseen:
    """How a scan will be looked at: as hard as `effort` says, within the limit.

    Args:
        engines: the networks of an ensemble; by name, such as "torch fp32", where they are not
            built yet.
        limit: bytes that the process may hold in memory, and on a GPU; None for what the machine
            has.
        beside: bytes that other scans take meanwhile.
        how: scans are segmented otherwise than all of them and in any time.

    Raises:
        Refused: not even the leanest way fits (RES-MEMORY).
    """
    room, found, how = Room.of(limit, engines), list[Foreseen](), how or Way()
    for tried in (True, False) if all(map(_may_go_untried, engines)) else (True,):
        for option in chain([effort], _options(plan, how.part or plan.grid_for(scan.grid), effort)):
            way = _way(engines, option, tried, how)
            foreseen = Foreseen(option, inference_demand(plan, scan, way, beside=beside), tried)
            if room.filled(foreseen.demand) <= 1:
                return foreseen
            found.append(foreseen)
    least = min(found, key=lambda foreseen: room.filled(foreseen.demand))
    if room.admits(least.demand):
        return least
    alone = replace(least.demand, beside=0.0)  # what other scans take is not this one's
    needed = least.demand if room.admits(alone) else alone
    raise Refused([_too_much(scan, plan, needed, room)])


def _may_go_untried(engine: Engine | str) -> bool:
    """An engine that was asked for by name is not replaced by another one to save memory."""
    return not isinstance(engine, AutoEngine) or engine.may_go_untried


def _options(plan: AnyPlan, grid: Grid, effort: Effort) -> Iterator[Effort]:
    """All ways to look so hard, the cheapest in time first, made when the first is asked for.

    Args:
        grid: of what is looked at.
    """
    shape = grid.shape
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
    yield from (option for _, option in sorted(options, key=lambda priced: priced[0]))


def _looks(starts: Sequence[int], patch: int, length: int, strips: int) -> int:
    """How many windows along the second axis are looked at, those across a border twice."""
    edges = [round(i * length / strips) for i in range(strips + 1)]
    return sum(
        start < stop + 1 and start + patch > first
        for first, stop in pairwise(edges)
        for start in starts
    )


def _way(engines: Sequence[Engine | str], effort: Effort, tried: bool, how: Way) -> Way:
    possible: set[str] = set()
    trial, on_gpu = False, False
    for engine in engines:
        if isinstance(engine, AutoEngine):
            trial = trial or (tried and engine.needs_trial)
            possible |= {engine.untried} if engine.needs_trial and not tried else {*engine.possible}
        else:  # one of a caller's own is taken for torch
            possible.add(str(engine) if str(engine) in MAPS else str(REFERENCE))
        on_gpu = on_gpu or getattr(engine, "device", torch.device("cpu")).type == "cuda"
    return replace(
        how,
        engines=tuple(sorted(possible)),
        tried=trial,
        accumulator=effort.accumulator.itemsize,
        strips=effort.strips,
        batch=effort.batch,
        networks=len(engines),
        looks=len(effort.mirrors),
        on_gpu=on_gpu,
    )


def _too_much(scan: Header, plan: AnyPlan, least: Demand, room: Room) -> Finding:
    size = " x ".join(map(str, scan.grid.shape))
    doing = f"Segmenting {size} voxels into {plan.labels.classes} classes"
    if plan.targets is not None:
        doing = f"Estimating {', '.join(plan.targets.names)} of {size} voxels"
    needed = least.largest if room.asked else least.total
    enough = f"{ceil(needed / GB * 10) / 10:.1f} GB"
    there, advice = "are allowed", f"Allow {enough}, or use a machine that has them."
    if not room.asked:
        there = f"of this machine's {room.host / USABLE / GB:.2f} GB may be taken"
        advice = f"Use a machine with more memory, or risk it with a limit ({enough}) of your own."
    takes = f"{doing} would take {needed / GB:.2f} GB at the least"
    return finding(
        "RES-MEMORY",
        f"{takes}, and {room.host / GB:.2f} GB {there}.",
        advice=advice,
        needed_gb=round(needed / GB, 3),
        limit_gb=round(room.host / GB, 3),
    )
