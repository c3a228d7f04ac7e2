"""The path of a volume, from a scan to labels in the scan's own space.

Ten steps: read, judge, aim, prepare, cut, look, blend, return, tidy, keep. `Segmenter.__call__` is
steps two to nine; reading and keeping belong to whoever has the files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from volunet.errors import ConfigError
from volunet.findings import Finding, refuse_if_needed, worst_first
from volunet.inference.asked import label_as_asked
from volunet.inference.clock import Clock
from volunet.inference.deadline import Watch
from volunet.inference.effort import Effort
from volunet.inference.engines.auto import AutoEngine
from volunet.inference.engines.engine import Engine
from volunet.inference.estimating import estimate_scan
from volunet.inference.labelling import Labelling
from volunet.inference.limit import Foreseen, foresee
from volunet.inference.place import Place
from volunet.inference.postprocess import UNTIDIED, Tidy, tidy_labels
from volunet.inference.roi import Roi, Structures
from volunet.inference.view import View, grid_around, view_scan
from volunet.io.header import Header
from volunet.io.scan import read_header
from volunet.planning.any_plan import AnyPlan
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.foresight import Way
from volunet.planning.gate import judge
from volunet.planning.machine import GB
from volunet.planning.plan import Plan
from volunet.space.grid import Grid
from volunet.space.volume import Volume


@dataclass(frozen=True)
class Segmentation:
    """What a scan was segmented into.

    Args:
        labels: (1, I, J, K) label values on the scan's own grid; of a network with targets their
            values (T, I, J, K), float32, on that grid or on a finer one.
        findings: what is unusual about the scan, worst first.
        how: numbers about how it was made, for records.
        steps: seconds spent, by step.
    """

    labels: Volume
    findings: tuple[Finding, ...]
    how: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> Volume:
        """The same volume under the name that fits what networks with targets give."""
        return self.labels


@dataclass(frozen=True)
class Segmenter:
    """A trained network and the plan it was trained with.

    Args:
        engines: the network, ready to look at batches of windows; several for an ensemble.
        fingerprint: of the training set, against which scans are judged.
        identity: SHA-256 of plan and weights.
        effort: how hard to look.
        tidy: what is done to the label map at the end.
        max_memory: bytes that the process may hold; None for what the machine has. A scan is looked
            at in the cheapest way that keeps it, and refused where there is none.
        beside: bytes of them for other scans that are read and written meanwhile.
        alone: no other scan is read or written while one is segmented.
        roi: what is asked for, where that is not all of a scan.
        limit_s: seconds for a scan, from its voxels to its labels; None for no limit.
    """

    engines: tuple[Engine, ...]
    plan: AnyPlan
    fingerprint: Fingerprint
    identity: str
    effort: Effort
    tidy: Tidy = UNTIDIED
    max_memory: float | None = None
    beside: float = 0.0
    alone: bool = False
    roi: Roi | None = None
    limit_s: float | None = None

    def with_effort(self, effort: Effort) -> Segmenter:
        """The same model, looking so hard; at all of a scan, where values are estimated."""
        effort.check_sides(self.plan)
        if self.plan.targets is not None:
            effort = replace(effort, crop=False, skip_air=False)
        return replace(self, effort=effort)

    def within(self, max_memory: float | None, *, beside: float = 0.0) -> Segmenter:
        """The same model, in so much memory."""
        return replace(self, max_memory=max_memory, beside=beside)

    def only(self, roi: Sequence[str] | Volume | Place) -> Segmenter:
        """The same model for a part of each scan.

        Args:
            roi: names of structures, which alone are kept; or a mask (1, I, J, K) on any grid, or
                a place, around which labels are made and kept.

        Raises:
            ConfigError: the model has no such structure or estimates values, or the mask is empty.
            Refused: the mask's file does not say where it lies (GEO-NOFORM).
        """
        self._refuse_values("A region of interest is")
        if isinstance(roi, Volume):
            roi = Place.of_mask(roi)
        of_model = (self.plan.labels, self.fingerprint)
        asked: Roi = roi if isinstance(roi, Place) else Structures.named(roi, *of_model)
        return replace(self, roi=asked).known_as(asked.key)

    def by(self, limit_s: float) -> Segmenter:
        """The same model, with so many seconds for a scan.

        They count from the voxels to the labels: reading, writing and the first trial of engines
        take their own time. A scan that cannot be looked at once in time raises `OutOfTime`.

        Raises:
            ConfigError: the model estimates values.
        """
        self._refuse_values("A deadline is")
        return replace(self, limit_s=limit_s).known_as(f"limit {limit_s:g} s")

    def everywhere(self) -> Segmenter:
        """The same model, looking at air too."""
        effort = replace(self.effort, crop=False, skip_air=False)
        return replace(self, effort=effort).known_as("everywhere")

    def _refuse_values(self, what: str) -> None:
        if self.plan.targets is not None:
            raise ConfigError(
                f"{what} for models that tell structures apart; this one estimates "
                f"{', '.join(self.plan.targets.names)} everywhere. Leave it out."
            )

    def known_as(self, asked: str) -> Segmenter:
        """The same model by another identity, as what is asked of it changes its labels."""
        identity = sha256(f"{self.identity} {asked}".encode()).hexdigest()
        return replace(self, identity=identity)

    @property
    def overlaps(self) -> bool:
        """Whether other scans may be read and written while one is segmented."""
        return not self.alone and (self.max_memory is None or self.beside > 0)

    def foresee(self, scan: Header) -> Foreseen:
        """How a scan will be looked at, and the peak memory of that.

        Raises:
            Refused: it would pass `max_memory`, or the machine's, in any way (RES-MEMORY); or the
                place that is asked for is not in it (ROI-OUTSIDE).
        """
        part = None
        if isinstance(self.roi, Place):
            part = grid_around(self.roi, self.plan, self.plan.grid_for(scan.grid))
        return foresee(
            self.plan,
            scan,
            self.engines,
            self.effort,
            limit=self.max_memory,
            beside=self.beside,
            how=Way(hurried=self.limit_s is not None, part=part),
        )

    def admit(self, images: Sequence[Path], *, accept: Collection[str] = ()) -> None:
        """Refuses a scan that would pass `max_memory`, or the machine's, by its header alone.

        Raises:
            Refused: it would, or its header cannot be read, or the place asked for is not in it.
        """
        several = len(self.plan.channels) > 1
        self.foresee(read_header(images, accept=accept, channels_in_file=several))

    def __call__(self, scan: Volume, *, accept: Collection[str] = ()) -> Segmentation:
        """Labels of a scan on its own grid.

        Args:
            scan: (C, I, J, K), as `volunet.read` gives it.
            accept: codes of refusals to waive.

        Raises:
            Refused: the scan is unfit for the model; the findings say why.
            OutOfTime: there is a limit, and the scan cannot be looked at once in it.
        """
        clock = Clock()
        with clock.step("judge"):
            findings = refuse_if_needed(judge(scan, self.plan, self.fingerprint), accept)
        with clock.step("choose"):  # an engine that was chosen on another day may be started
            foreseen = self.foresee(Header(scan.grid, scan.channels, scan.voxels.dtype))
            effort = foreseen.effort
        with clock.step("prepare"):  # aim, prepare
            view = self._view(scan, effort, findings)
        with clock.step("choose"):
            self._choose(view, tried=foreseen.tried)
        if self.plan.targets is not None:
            return self._estimate(scan, view, foreseen, findings, clock)
        limit_s = inf if self.limit_s is None else self.limit_s
        watch = Watch(limit_s, clock.seconds["judge"] + clock.seconds["prepare"])
        with clock.step("label"):  # cut, look, blend, return
            engines = [clock.around(engine) for engine in self.engines]
            labelling = Labelling(engines, self.plan, view, scan.grid)
            ending_s = partial(self._ending_s, scan.grid)
            made = label_as_asked(labelling, effort, watch, roi=self.roi, ending_s=ending_s)
        with clock.step("tidy"):
            voxel_ml = scan.grid.voxel_ml
            tidied = tidy_labels(made.labels, self.tidy, self.plan.labels, voxel_ml=voxel_ml)
            values = self.plan.labels.to_values(made.labels, only=made.only)
        how = {
            **self._tell(made.labelling.view, foreseen),
            "windows_skipped": made.labelling.skipped(effort) * len(engines) * len(effort.mirrors),
            "limit_s": self.limit_s,
            "sure_share": round(made.sure, 4),
            "windows": clock.windows,
            "tidied_ml": {name: t.in_ml(voxel_ml) for name, t in tidied.items()},
        }
        found = tuple(worst_first((*findings, *made.findings)))
        return Segmentation(Volume(values[None], scan.grid), found, how, clock.seconds)

    def _estimate(
        self,
        scan: Volume,
        view: View,
        foreseen: Foreseen,
        findings: tuple[Finding, ...],
        clock: Clock,
    ) -> Segmentation:
        """Values of a scan, where the network estimates them."""
        assert isinstance(self.plan, Plan), "imported networks of nnU-Net's have no targets"
        assert not view.narrowed, "estimates are wanted of all of a scan"
        assert view.windows is None, "estimates are wanted of air too"
        with clock.step("estimate"):  # cut, look, blend, return
            engines = [clock.around(engine) for engine in self.engines]
            made = estimate_scan(engines, self.plan, view, scan, foreseen.effort)
        how = {**self._tell(view, foreseen), "windows": clock.windows}
        return Segmentation(made, tuple(worst_first(findings)), how, clock.seconds)

    def _view(self, scan: Volume, effort: Effort, findings: Collection[Finding]) -> View:
        """What of a scan is looked at, prepared."""
        return view_scan(
            scan,
            self.plan,
            self.fingerprint,
            effort,
            trusted=not any(f.code == "OOD-INTENSITY" for f in findings),
            place=self.roi if isinstance(self.roi, Place) else None,
        )

    def _tell(self, view: View, foreseen: Foreseen) -> dict[str, Any]:
        """How labels or values were made, for records."""
        effort, seen = foreseen.effort, view.seen.grid
        return {
            "model": self.identity,
            "engines": [str(engine) for engine in self.engines],
            "choices": [e.why for e in self.engines if isinstance(e, AutoEngine)],
            "plan_shape": list(seen.shape),
            "plan_spacing_mm": list(seen.spacing),
            "crop": [list(view.box.start), list(view.box.stop)] if view.narrowed else None,
            "windows_skipped": 0,
            "strips": effort.strips,
            "sums": str(effort.accumulator).removeprefix("torch."),
            "predicted_gb": round(foreseen.demand.total / GB, 3),
        }

    def _choose(self, view: View, *, tried: bool) -> None:
        """Has engines chosen that are not chosen yet; those of an ensemble like the first."""
        open_ones = [engine for engine in self.engines if isinstance(engine, AutoEngine)]
        for engine in open_ones:
            if tried:
                like = open_ones[0] if engine is not open_ones[0] else None
                engine.settle(view.seen.voxels, like=like)
            else:
                engine.settle_untried()

    def _ending_s(self, grid: Grid, index: NDArray[Any]) -> float:
        """How long it takes to tidy labels like these."""
        if not self.tidy:
            return 0.0
        started = perf_counter()
        tidy_labels(index.copy(), self.tidy, self.plan.labels, voxel_ml=grid.voxel_ml)
        return perf_counter() - started
