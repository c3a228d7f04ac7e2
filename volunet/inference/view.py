"""Which part of a scan is prepared and looked at: the body's box, and windows that show the body.

What lies outside the part is background. Statistics that a plan takes from a whole scan are taken
from the whole scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from volunet.inference.air import Cells, find_body, margin_vox
from volunet.inference.effort import Effort
from volunet.inference.native import Reach
from volunet.inference.place import Place, at_least, grown, with_margin
from volunet.planning.any_plan import AnyPlan
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.planning.targets import Scale
from volunet.space.box import Box
from volunet.space.volume import Volume


@dataclass
class Windows:
    """Which windows are worth a look: those that show the body. It counts the others.

    Args:
        start: of the prepared part on the grid of the cells.
    """

    cells: Cells
    start: tuple[int, ...]
    skipped: int = 0

    def __call__(self, box: Box) -> bool:
        shown = self.show(box)
        self.skipped += not shown
        return shown

    def show(self, box: Box) -> bool:
        """Whether a window shows the body."""
        low = tuple(a + s for a, s in zip(box.start, self.start, strict=True))
        high = tuple(b + s for b, s in zip(box.stop, self.start, strict=True))
        return self.cells.touch(Box(low, high))


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
        return self.windows is None or self.windows.show(box)

    def part(self, box: Box) -> View:
        """The view of a box of what is seen; what is outside is background."""
        windows = self.windows
        if windows is not None:
            start = tuple(a + s for a, s in zip(box.start, windows.start, strict=True))
            windows = Windows(windows.cells, start, windows.skipped)
        inside = Box(
            tuple(a + s for a, s in zip(box.start, self.box.start, strict=True)),
            tuple(b + s for b, s in zip(box.stop, self.box.start, strict=True)),
        )
        reach = _within(box, self.reach, self.seen.grid.shape)
        return View(self.seen.crop(box), reach, inside, self.whole, windows, self.scales)

    def told(self, looks: int) -> dict[str, Any]:
        """For records: what was left out.

        Args:
            looks: at each window.
        """
        return {
            "crop": [list(self.box.start), list(self.box.stop)] if self.narrowed else None,
            "windows_skipped": 0 if self.windows is None else self.windows.skipped * looks,
        }


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
    body = find_body(scan, plan, fingerprint) if asked else None
    prepared = None if isinstance(plan, Plan) else plan.prepare(scan)
    grid = plan.grid_for(scan.grid) if prepared is None else prepared.grid
    cells = None if body is None else body.on(grid)
    box = Box.whole(grid.shape)
    if place is not None:
        box = with_margin(place.on(grid), plan.patch, grid.shape)
    elif cells is not None and effort.crop and prepared is None:
        box = cells.box(margin_vox(grid)) or box
    box = at_least(box, plan.patch, grid.shape)
    labelled = box
    if plan.unpadded is not None:  # it sees what lies around, from where its maps would begin
        box = grown(box, plan.margin, grid.shape)
        steps = zip(box.start, plan.unpadded.step, strict=True)
        box = Box(tuple(a - a % step for a, step in steps), box.stop)
    scales: tuple[Scale, ...] = ()
    if isinstance(plan, Plan):
        seen, scales = plan.prepare_scaled(scan, box)
    else:
        assert prepared is not None, "made above"
        seen = prepared.crop(box)
    first, second, third = (
        (-0.5, n - 0.5) if plan.way_back(scan.grid).cropped else (-inf, inf) for n in grid.shape
    )
    reach = _within(box, (first, second, third), grid.shape)
    if labelled != box:
        reach = _only(labelled, box, reach, grid.shape)
    windows = Windows(cells, box.start) if cells is not None and effort.skip_air else None
    return View(seen, reach, box, grid.shape, windows, scales)


def _only(labelled: Box, box: Box, reach: Reach, shape: tuple[int, ...]) -> Reach:
    """A reach in a box, ended where what is labelled ends within the image."""
    first, second, third = (
        (low if a == 0 else a - s - 0.5, high if b == n else b - s - 0.5)
        for (low, high), a, b, s, n in zip(
            reach, labelled.start, labelled.stop, box.start, shape, strict=True
        )
    )
    return first, second, third


def _within(box: Box, reach: Reach, shape: tuple[int, ...]) -> Reach:
    """The part of a reach, in an image, that lies in a box of it, from the box's start."""
    first, second, third = (
        (-0.5 if a else low, b - a - 0.5 if b < n else high - a)
        for (low, high), a, b, n in zip(reach, box.start, box.stop, shape, strict=True)
    )
    return first, second, third
