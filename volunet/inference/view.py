"""Which part of a scan is prepared and looked at: the body's box, and windows that show the body.

What lies outside the part is background. Statistics that a plan takes from a whole scan are taken
from the whole scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from volunet.inference.air import Cells, find_body, margin_vox
from volunet.inference.effort import Effort
from volunet.inference.native import Reach
from volunet.inference.place import Place, at_least, grown, with_margin
from volunet.planning.any_plan import AnyPlan
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.planning.targets import Scale
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.volume import Volume


@dataclass(frozen=True)
class Windows:
    """Which windows are worth a look: those that show the body.

    Args:
        start: of the prepared part on the grid of the cells.
    """

    cells: Cells
    start: tuple[int, ...]

    def __call__(self, box: Box) -> bool:
        return self.cells.touch(box.moved(self.start))


@dataclass(frozen=True)
class View:
    """A scan as the network will see it.

    Args:
        seen: the prepared part.
        reach: coordinates on its grid that are labelled.
        box: where the part lies in the whole prepared scan.
        whole: voxels of that along each axis.
        windows: those worth a look; None for all of them.
        scales: by what each channel was scaled, where the plan tells.
    """

    seen: Volume
    reach: Reach
    box: Box
    whole: tuple[int, int, int]
    windows: Windows | None = None
    scales: tuple[Scale, ...] = ()

    @property
    def narrowed(self) -> bool:
        """Whether the part is not all of it."""
        return self.box != Box.whole(self.whole)

    def shows(self, box: Box) -> bool:
        """Whether a window is worth a look."""
        return self.windows is None or self.windows(box)

    def part(self, labelled: Box, plan: AnyPlan) -> View:
        """The view of a box of what is seen; what is outside is background."""
        box = _seen_around(labelled, plan, self.seen.grid.shape)
        windows = self.windows
        if windows is not None:
            windows = Windows(windows.cells, box.moved(windows.start).start)
        reach = _reach_in(box, labelled, self.reach, self.seen.grid.shape)
        inside = box.moved(self.box.start)
        return View(self.seen.crop(box), reach, inside, self.whole, windows, self.scales)


def view_scan(
    scan: Volume,
    plan: AnyPlan,
    fingerprint: Fingerprint,
    effort: Effort,
    *,
    trusted: bool = True,
    place: Place | None = None,
) -> View:
    """The part of a scan worth a look, prepared.

    Windows of an imported plan stay where they are for a whole scan, if no place is given: they
    are skipped, and the scan is cropped only as the plan itself does it.

    Args:
        trusted: the scan's intensities are like those of the training set, so that air can be told
            from them.
        place: a region of interest; more of the scan is not prepared.

    Raises:
        Refused: the place is not in the scan.
    """
    asked = trusted and (effort.crop or effort.skip_air)
    prepared = None if isinstance(plan, Plan) else plan.prepare(scan)
    grid = plan.grid_for(scan.grid) if prepared is None else prepared.grid
    body = find_body(scan, plan, fingerprint) if asked else None
    cells = None if body is None else body.on(grid)
    del body  # a map as large as the scan may be
    box = Box.whole(grid.shape)
    if place is not None:
        box = _box_around(place, plan, grid)
    elif cells is not None and effort.crop and prepared is None:
        box = cells.box(margin_vox(grid)) or box
    box = at_least(box, plan.patch, grid.shape)
    labelled, box = box, _seen_around(box, plan, grid.shape)
    scales: tuple[Scale, ...] = ()
    if isinstance(plan, Plan):
        seen, scales = plan.prepare_scaled(scan, box)
    else:
        assert prepared is not None, "made above"
        seen = prepared.crop(box)
    first, second, third = (
        (-0.5, n - 0.5) if plan.way_back(scan.grid).cropped else (-inf, inf) for n in grid.shape
    )
    reach = _reach_in(box, labelled, (first, second, third), grid.shape)
    windows = Windows(cells, box.start) if cells is not None and effort.skip_air else None
    return View(seen, reach, box, grid.shape, windows, scales)


def grid_around(place: Place, plan: AnyPlan, grid: Grid) -> Grid:
    """The part of a prepared scan's grid that a network sees for the labels of a place.

    Raises:
        Refused: the place is not in the scan.
    """
    box = at_least(_box_around(place, plan, grid), plan.patch, grid.shape)
    return grid.crop(_seen_around(box, plan, grid.shape))


def _box_around(place: Place, plan: AnyPlan, grid: Grid) -> Box:
    return with_margin(place.on(grid), plan.patch, grid.shape)


def _seen_around(labelled: Box, plan: AnyPlan, shape: tuple[int, ...]) -> Box:
    """What of an image a network has to see for the labels of a box.

    Networks without padding see what lies around it, from where their maps would begin.
    """
    if plan.unpadded is None:
        return labelled
    box = grown(labelled, plan.margin, shape)
    steps = zip(box.start, plan.unpadded.step, strict=True)
    return Box(tuple(a - a % step for a, step in steps), box.stop)


def _reach_in(box: Box, labelled: Box, reach: Reach, shape: tuple[int, ...]) -> Reach:
    """The part of a reach, in an image, that lies in a box of it, from the start of a larger box.

    Where the smaller one ends with the image, the reach ends as it does.
    """
    first, second, third = (
        (max(low, a - 0.5 if a else low) - start, min(high, b - 0.5 if b < n else high) - start)
        for (low, high), a, b, start, n in zip(
            reach, labelled.start, labelled.stop, box.start, shape, strict=True
        )
    )
    return first, second, third
