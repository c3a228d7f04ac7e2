"""What `--fast` and `--best` stand for, measured on the cases that a run held out."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from volunet.api.planning import Counted, quiet
from volunet.data.cases import Case
from volunet.data.drawn import drawn_classes
from volunet.data.read_case import CaseReading, read_case
from volunet.evaluation.overlap import to_classes
from volunet.evaluation.score import averaged_dice
from volunet.findings import Refused
from volunet.inference.air import find_body
from volunet.inference.calibration import Calibration, Look, Measured
from volunet.inference.effort import Effort
from volunet.inference.segmenter import Segmenter
from volunet.inference.windows import Tiling
from volunet.packaging.model_file import amend_model
from volunet.planning.any_plan import AnyPlan
from volunet.planning.machine import is_out_of_memory
from volunet.planning.plan import Plan
from volunet.space.grid import Grid

SHARE = 0.2
"""Part of the time trained that calibration may take; one case is looked at in any event."""
OVERLAPS = (0.25, 0.5, 0.75)


def calibrate_run(
    folder: Path,
    segment: Segmenter,
    cases: Sequence[Case],
    *,
    mirror: Collection[int] = (),
    most_s: float,
    accept: Collection[str] = (),
    counted: Counted = quiet,
) -> Calibration | None:
    """Measures Dice, windows and seconds of several settings, and keeps them in the model.

    On the first case the default and the cheapest setting are measured, then the others from cheap
    to dear, as long as the time allowed is expected to do for them; the rest are left out. Further
    cases are begun while there is time. They come in a random, repeatable order.

    Args:
        folder: of the run, whose masks of these cases lie in `validation/`.
        segment: its model.
        cases: held out; those without a mask are left out.
        mirror: axes that training mirrored.
        most_s: seconds after which no further case is begun.
        accept: codes of refusals to waive.

    Returns:
        None, and the model as it was, where no case holds a structure.
    """
    usable = [c for c in cases if (folder / "validation" / f"{c.case_id}.nii.gz").is_file()]
    started = time.monotonic()
    labels, channels = segment.plan.labels, len(segment.plan.channels)
    table: _Table | None = None
    for done, place in enumerate(np.random.default_rng(0).permutation(len(usable)).tolist()):
        case = usable[place]
        read = read_case(case, channels=channels, labels=labels, accept=accept)
        if table is None:
            table = _Table(segment, looks_for(segment.plan, mirror), most_s)
        table.measure(read, drawn_classes(case, labels), accept, counted)
        counted("calibrating on held-out cases", done + 1, len(usable))
        if (time.monotonic() - started) * (done + 2) / (done + 1) > most_s:
            break
    calibration = None if table is None else table.calibration()
    if calibration is not None:
        amend_model(folder, calibration=calibration)
    return calibration


def looks_for(plan: AnyPlan, mirror: Collection[int]) -> list[Look]:
    """The settings worth a try, the default first.

    Args:
        mirror: axes that training mirrored; right and left are never swapped where structures of
            a pair would take each other's place, nor the order of slices that are seen one by one.
    """
    default = Look(overlap=plan.overlap)
    looks = [default, *(Look(overlap=share) for share in OVERLAPS if share != plan.overlap)]
    looks.append(default.model_copy(update={"skip_air": False}))
    flat = plan.flat if isinstance(plan, Plan) else None
    axes = tuple(sorted(set(mirror) - {flat, 0 if plan.labels.tells_sides else None}))
    return looks + [default.model_copy(update={"mirror": axes})] * bool(axes)


def _wants_memory(error: Exception) -> bool:
    """Whether memory was not enough, or would not be, for one way to look at a case."""
    foreseen = isinstance(error, Refused) and {f.code for f in error.findings} == {"RES-MEMORY"}
    return foreseen or is_out_of_memory(error)


@dataclass
class _Table:
    """What each setting gave on each case so far.

    Args:
        looks: the settings in use; those that there is no time for go when the first case is seen.
        most_s: seconds for a case with all settings.
    """

    segment: Segmenter
    looks: list[Look]
    most_s: float
    left_out: list[Look] = field(default_factory=list)
    rows: dict[Look, list[tuple[list[float], int, float]]] = field(default_factory=dict)

    def measure(
        self,
        read: CaseReading,
        drawn: NDArray[np.bool_] | None,
        accept: Collection[str],
        counted: Counted,
    ) -> None:
        """Segments a case with every setting; settings that come to the same are looked at once.

        Args:
            drawn: which classes were drawn in it, background first; None for all.
        """
        plan = self.segment.plan
        grid = plan.grid_for(read.image.grid)
        has_air = find_body(read.image, plan, self.segment.fingerprint) is not None
        seen: dict[object, tuple[list[float], int, float]] = {}
        for look in tuple(self.looks):
            if look not in self.looks:  # there is no time for it
                continue
            # Where a scan is cropped, windows that stand alike on all of it may not on the part.
            kind = look if has_air else (_tiling(grid, plan, look).starts, look.mirror)
            if kind not in seen:
                try:
                    seen[kind] = self._segment(look, read, drawn, accept)
                except Exception as error:
                    if not _wants_memory(error) or look == self.looks[0]:
                        raise
                    self._drop(look)
                    continue
            if look == self.looks[0] and not self.rows:
                self._drop_dear(grid, seen[kind][2])
            self.rows.setdefault(look, []).append(seen[kind])
            counted(
                "trying settings on a held-out case", 1 + self.looks.index(look), len(self.looks)
            )

    def _drop(self, look: Look) -> None:
        """Leaves out a setting that does not fit the memory."""
        self.looks.remove(look)
        self.left_out.append(look)
        self.rows.pop(look, None)

    def calibration(self) -> Calibration | None:
        """The means of all settings; None where no structure was in any case."""
        rows = []
        for look, found in self.rows.items():
            table = np.array([dice for dice, _, _ in found])
            known = ~np.isnan(table)
            if not known.any():
                return None
            held = known.any(axis=0)
            means = np.where(known, table, 0).sum(axis=0)[held] / known.sum(axis=0)[held]
            _, windows, seconds = zip(*found, strict=True)
            rows.append(
                Measured(
                    look=look,
                    dice=float(means.mean()),
                    windows=float(np.mean(windows)),
                    seconds=float(np.mean(seconds)),
                )
            )
        cases = len(self.rows[self.looks[0]])
        return Calibration(cases=cases, rows=tuple(rows), left_out=tuple(self.left_out))

    def _segment(
        self,
        look: Look,
        read: CaseReading,
        drawn: NDArray[np.bool_] | None,
        accept: Collection[str],
    ) -> tuple[list[float], int, float]:
        started = time.monotonic()
        found = look.on(self.segment)(read.image, accept=accept)
        took = time.monotonic() - started
        labels = self.segment.plan.labels
        masks = (read.label.voxels[0], found.labels.voxels[0])
        maps = to_classes(*masks, labels.values, ignore=labels.ignore)
        return averaged_dice(*maps, labels, drawn), found.how["windows"], took

    def _drop_dear(self, grid: Grid, default_s: float) -> None:
        """Leaves the settings out that there is no time for, the dearest first."""
        default, *others = self.looks
        costs = {look: _windows(grid, self.segment.plan, look) for look in self.looks}
        cheap_first = sorted(others, key=lambda look: costs[look])
        spent, kept = default_s, cheap_first[:1]
        for look in cheap_first:
            spent += default_s * costs[look] / costs[default]
            if look not in kept and spent <= self.most_s:
                kept.append(look)
        self.left_out = [look for look in others if look not in kept]
        self.looks = [default, *(look for look in others if look in kept)]


def _tiling(grid: Grid, plan: AnyPlan, look: Look) -> Tiling:
    whole = tuple(map(max, grid.shape, plan.patch))
    return Tiling.regular(whole, plan.patch, look.overlap)


def _windows(grid: Grid, plan: AnyPlan, look: Look) -> int:
    """How many windows a setting looks at, air included."""
    return prod(map(len, _tiling(grid, plan, look).starts)) * len(look.of(Effort()).mirrors)
