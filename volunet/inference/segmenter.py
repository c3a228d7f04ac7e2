"""The path of a volume, from a scan to labels in the scan's own space.

Ten steps: read, judge, aim, prepare, cut, look, blend, return, tidy, keep. `Segmenter.__call__` is
steps two to nine; reading and keeping belong to whoever has the files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Finding, refuse_if_needed
from volunet.inference.clock import Clock
from volunet.inference.cover import cover
from volunet.inference.effort import Effort
from volunet.inference.engines.auto import AutoEngine
from volunet.inference.engines.engine import Engine
from volunet.inference.native import Reach, label_native
from volunet.inference.postprocess import UNTIDIED, Tidy, tidy_labels
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.gate import judge
from volunet.planning.plan import Plan
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.volume import Volume


@dataclass(frozen=True)
class Segmentation:
    """What a scan was segmented into.

    Args:
        labels: (1, I, J, K) label values on the scan's own grid.
        findings: what is unusual about the scan, worst first.
        how: numbers about how it was made, for records.
    """

    labels: Volume
    findings: tuple[Finding, ...]
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Segmenter:
    """A trained network and the plan it was trained with.

    Args:
        engines: the network, ready to look at batches of windows; several for an ensemble.
        fingerprint: of the training set, against which scans are judged.
        identity: SHA-256 of plan and weights.
        effort: how hard to look.
        tidy: what is done to the label map at the end.
    """

    engines: tuple[Engine, ...]
    plan: Plan
    fingerprint: Fingerprint
    identity: str
    effort: Effort
    tidy: Tidy = UNTIDIED

    def with_effort(self, effort: Effort) -> Segmenter:
        """The same model, looking so hard."""
        return replace(self, effort=effort)

    def __call__(self, scan: Volume, *, accept: Collection[str] = ()) -> Segmentation:
        """Labels of a scan on its own grid.

        Args:
            scan: (C, I, J, K), as `volunet.read` gives it.
            accept: codes of refusals to waive.

        Raises:
            Refused: the scan is unfit for the model; the findings say why.
        """
        clock = Clock()
        with clock.step("judge"):
            findings = refuse_if_needed(judge(scan, self.plan, self.fingerprint), accept)
        grid = self.plan.grid_for(scan.grid)  # aim
        with clock.step("prepare"):
            seen = self.plan.prepare(scan)
        with clock.step("choose"):
            for engine in self.engines:
                if isinstance(engine, AutoEngine):
                    engine.settle(seen.voxels)
        with clock.step("label"):  # cut, look, blend, return
            index = self._label(seen.voxels, grid, scan.grid, clock)
        with clock.step("tidy"):
            voxel_ml = scan.grid.voxel_ml
            tidied = tidy_labels(index, self.tidy, self.plan.labels, voxel_ml=voxel_ml)
            labels = Volume(self.plan.labels.to_values(index)[None], scan.grid)
        how: dict[str, Any] = {
            "model": self.identity,
            "engines": [str(engine) for engine in self.engines],
            "plan_shape": list(grid.shape),
            "plan_spacing_mm": list(grid.spacing),
            "windows": clock.windows,
            "tidied_ml": {name: t.in_ml(voxel_ml) for name, t in tidied.items()},
            "seconds": {name: round(s, 4) for name, s in clock.seconds.items()},
        }
        return Segmentation(labels, findings, how)

    def _label(
        self, image: NDArray[np.float32], grid: Grid, native: Grid, clock: Clock
    ) -> NDArray[Any]:
        """Class indices on the scan's grid, strip by strip."""
        engines = [clock.around(engine) for engine in self.engines]
        labels: NDArray[Any] | None = None
        for region, reach in strips_of(grid.shape, self.effort.strips):
            slabs = cover(engines, image, self.plan.patch, self.effort, region=region)
            labels = label_native(slabs, grid, native, reach=reach, labels=labels)
        assert labels is not None, "there is at least one strip"
        return labels


def strips_of(shape: tuple[int, int, int], count: int) -> list[tuple[Box, Reach]]:
    """The parts of a map that are worked through one after another, cut along the second axis.

    Each is a box of voxels, and the coordinates that are labelled from it: up to the first column
    of the next one, whose logits it holds too.
    """
    count = min(count, shape[1])
    edges = [round(i * shape[1] / count) for i in range(count + 1)]
    strips = []
    for start, stop in pairwise(edges):
        box = Box((0, start, 0), (shape[0], min(stop + 1, shape[1]), shape[2]))
        across = (start if start else -inf, stop if stop < shape[1] else inf)
        strips.append((box, ((-inf, inf), across, (-inf, inf))))
    return strips
