"""From a prepared scan to classes on its own grid: cut, look, blend, return, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.inference.cover import Frame, cover
from volunet.inference.effort import Effort, Wanted
from volunet.inference.engines.engine import Engine
from volunet.inference.native import EVERYWHERE, Reach, Slices, label_native
from volunet.inference.rule import LAST_POSITIVE, MOST_LIKELY
from volunet.inference.stitch import Slab
from volunet.inference.view import View
from volunet.planning.any_plan import AnyPlan
from volunet.space.box import Box
from volunet.space.grid import Grid


@dataclass(frozen=True)
class Labelling:
    """All that makes classes of one scan.

    Args:
        engines: the networks of an ensemble.
        native: the scan's own grid.
    """

    engines: Sequence[Engine]
    plan: AnyPlan
    view: View
    native: Grid

    def run(
        self,
        effort: Effort,
        *,
        wanted: Wanted | None = None,
        tap: Callable[[Slab], None] | None = None,
    ) -> NDArray[Any]:
        """Class indices on the scan's grid, (I, J, K).

        Args:
            wanted: which windows are looked at; by default those that the view shows. What none
                of them shows is background.
            tap: is shown each slab of logits as it is finished.
        """
        way, seen = self.plan.way_back(self.native), self.view.seen
        rule = LAST_POSITIVE if way.regions else MOST_LIKELY
        wanted, frame = wanted or self.view.windows, self.frame(effort)
        most = len(way.regions) or self.plan.labels.classes - 1
        labels = np.zeros(self.native.shape, dtype=np.min_scalar_type(most))
        for region, reach in strips_of(seen.grid.shape, effort.strips, outer=self.view.reach):
            if not frame.windows(region, wanted):
                continue
            slabs = cover(
                self.engines,
                seen.voxels,
                self.plan.patch,
                effort,
                region=region,
                wanted=wanted,
                nnunet=self.plan.nnunet_windows,
                unpadded=self.plan.unpadded,
            )
            label_native(
                slabs if tap is None else _tapped(slabs, tap),
                seen.grid,
                self.native,
                reach=reach,
                labels=labels,
                rule=rule,
                slices=self._slices(way.nearest),
            )
        return np.array((0, *way.regions), dtype=labels.dtype)[labels] if way.regions else labels

    def _slices(self, axis: int | None) -> Slices | None:
        """Thick slices that are to be copied; None for a map that stays on the prepared grid."""
        if axis is None or self.native is self.view.seen.grid:
            return None
        return Slices(axis, self.view.whole[axis], self.view.box.start[axis])

    def skipped(self, effort: Effort) -> int:
        """How many windows show nothing that is worth a look."""
        frame = self.frame(effort)
        return sum(not self.view.shows(frame.inside(box)) for box in frame.tiling.boxes())

    def order(self, effort: Effort, wanted: Wanted) -> list[Box]:
        """The windows that are looked at, strip by strip; those across a border come twice."""
        shape = self.view.seen.grid.shape
        strips = strips_of(shape, effort.strips)
        frame = self.frame(effort)
        return [box for region, _ in strips for box in frame.windows(region, wanted)]

    def frame(self, effort: Effort) -> Frame:
        """Where windows stand."""
        plan, shape = self.plan, self.view.seen.grid.shape
        step = () if plan.unpadded is None else plan.unpadded.step
        how = {"nnunet": plan.nnunet_windows}
        return Frame.around(shape, plan.patch, effort.overlap, **how, step=step)


def strips_of(
    shape: tuple[int, int, int], count: int, *, outer: Reach = EVERYWHERE
) -> list[tuple[Box, Reach]]:
    """The parts of a map that are worked through one after another, cut along the second axis.

    Each is a box of voxels, and the coordinates that are labelled from it: up to the first column
    of the next one, whose logits it holds too.

    Args:
        outer: coordinates that are in reach of any part.
    """
    count = min(count, shape[1])
    first, second, third = outer
    edges = [round(i * shape[1] / count) for i in range(count + 1)]
    strips = []
    for start, stop in pairwise(edges):
        box = Box((0, start, 0), (shape[0], min(stop + 1, shape[1]), shape[2]))
        across = (
            max(start, second[0]) if start else second[0],
            min(stop, second[1]) if stop < shape[1] else second[1],
        )
        strips.append((box, (first, across, third)))
    return strips


def _tapped(slabs: Iterator[Slab], tap: Callable[[Slab], None]) -> Iterator[Slab]:
    for slab in slabs:
        tap(slab)
        yield slab
