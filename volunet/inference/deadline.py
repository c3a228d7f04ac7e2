"""The best labels that there is time for: all of a scan once, then again where that left doubt.

The first look takes the fewest windows that cover the scan, side by side, unmirrored, by the first
network of an ensemble. If not even these can be done in time there are no labels, as labels of half
a scan look like those of a whole one. What time is left goes to the parts of most doubt: they are
labelled anew as they would be without a deadline, by all the windows that show them, and so all of
the scan is if there is time.

Beside the labels of the scan a second map of them is held for each new round, and a map of the
prepared scan of one byte a voxel; no logits are kept from one look to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.errors import OutOfTime
from volunet.inference.doubt import Doubt
from volunet.inference.effort import Effort
from volunet.inference.engines.engine import Engine
from volunet.inference.labelling import Labelling
from volunet.space.box import Box
from volunet.space.resample import resample
from volunet.space.volume import Volume

SLACK = 1.1
"""How much longer than measured so far a step may take."""
TRIED = 3
"""Windows after which the fastest tells what an engine can do; the first one is slow on many."""


@dataclass
class Watch:
    """The time that is left, and how fast an engine is.

    Args:
        limit_s: seconds from the start.
        spent_s: seconds that had passed when the watch was made.
        now: the time in seconds, from any origin.
    """

    limit_s: float
    spent_s: float = 0.0
    now: Callable[[], float] = time.perf_counter
    windows: int = 0
    engine_s: float = 0.0
    fastest_s: float = np.inf

    def __post_init__(self) -> None:
        self.started = self.now() - self.spent_s

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative once it is over."""
        return self.limit_s - (self.now() - self.started)

    @property
    def pace_s(self) -> float:
        """Seconds that an engine took for a window."""
        return self.engine_s / max(self.windows, 1)

    def timed(self, engine: Engine, windows: Tensor) -> Tensor:
        """The engine's answer, once it is there: devices beside the CPU only begin with it."""
        before = self.now()
        logits = engine(windows)
        if logits.device.type != "cpu":
            torch.accelerator.synchronize(logits.device)
        took = self.now() - before
        self.windows += len(windows)
        self.engine_s += took
        self.fastest_s = min(self.fastest_s, took / len(windows))
        return logits


@dataclass(frozen=True)
class InTime:
    """Labels that were made in time.

    Args:
        sure: share of the first look's doubt that was looked at again, 0 to 1.
    """

    labels: NDArray[Any]
    sure: float


def label_in_time(
    labelling: Labelling,
    effort: Effort,
    watch: Watch,
    *,
    ending_s: Callable[[NDArray[Any]], float] = lambda labels: 0.0,
) -> InTime:
    """Class indices on the scan's grid, as good as the time allows.

    Args:
        effort: how hard to look where there is doubt.
        ending_s: how long it takes to finish with labels like these.

    Raises:
        OutOfTime: the scan cannot be looked at once in time.
    """
    effort = replace(effort, batch=1)
    regions = bool(labelling.plan.way_back(labelling.native).regions)
    doubt = Doubt(labelling.frame(effort), labelling.view.shows, regions=regions)
    before = watch.now() - watch.engine_s
    labels = at_first_sight(labelling, effort, watch).run(effort.quick, tap=doubt.add)
    own_s = watch.now() - watch.engine_s - before
    looks = len(labelling.engines) * len(effort.mirrors)
    if looks == 1 and labelling.frame(effort) == labelling.frame(effort.quick):
        return InTime(labels, 1.0)
    at_first = float(doubt.parts.sum())
    if watch.left_s <= SLACK * own_s:  # nor is there time to find out how long the ending takes
        return InTime(labels, 0.0 if at_first else 1.0)
    kept_back = SLACK * (own_s + ending_s(labels))
    while doubt.parts.any():
        time_s = watch.left_s - kept_back
        windows = doubt.choose(int(time_s / (SLACK * watch.pace_s * looks))) if time_s > 0 else []
        if not windows:
            break
        _look_again(labelling, effort, watch, doubt, windows, labels, kept_back)
    return InTime(labels, 1 - float(doubt.parts.sum()) / at_first if at_first else 1.0)


def at_first_sight(labelling: Labelling, effort: Effort, watch: Watch) -> Labelling:
    """The same with the first network alone, which gives up once a quick look is hopeless."""
    left = len(labelling.order(effort.quick, labelling.view.shows))
    engine = labelling.engines[0]

    def guarded(windows: Tensor, /) -> Tensor:
        nonlocal left
        if watch.left_s < (left * watch.fastest_s if watch.windows >= TRIED else 0):
            pace = f", of {watch.fastest_s:.3g} s each at the least" if watch.windows else ""
            raise OutOfTime(
                f"{watch.limit_s:.3g} s are too short: to look at all of the scan once, {left} "
                f"windows were left{pace}. Allow more time."
            )
        left -= len(windows)
        return watch.timed(engine, windows)

    return replace(labelling, engines=[guarded])


def _look_again(
    labelling: Labelling,
    effort: Effort,
    watch: Watch,
    doubt: Doubt,
    windows: Collection[Box],
    labels: NDArray[Any],
    kept_back: float,
) -> None:
    """Labels anew, in place, what these windows make sure, or as much of it as there is time for.

    Windows that there is no time for are answered with zeros, and what they show is left as it is.
    """
    shown = {doubt.frame.inside(box) for box in windows}
    order = labelling.order(effort, shown.__contains__)
    answers = 0
    nothing: Tensor | None = None

    def guard(engine: Engine) -> Engine:
        def guarded(seen: Tensor, /) -> Tensor:
            nonlocal answers, nothing
            if nothing is not None:
                return nothing
            logits = watch.timed(engine, seen)
            answers += 1
            if watch.left_s < kept_back + SLACK * watch.pace_s:
                nothing = torch.zeros_like(logits)
            return logits

        return guarded

    engines = [guard(engine) for engine in labelling.engines]
    fresh = replace(labelling, engines=engines).run(effort, wanted=shown.__contains__)
    looks = len(engines) * len(effort.mirrors)
    sure = doubt.settle(set(order) - set(order[answers // looks :]))
    grid = labelling.view.seen.grid
    where = resample(Volume(sure[None], grid), labelling.native, method="nearest")
    np.copyto(labels, fresh, where=where.voxels[0] > 0)
