"""The path of a volume, from a scan to labels in the scan's own space.

Ten steps: read, judge, aim, prepare, cut, look, blend, return, tidy, keep. `Segmenter.__call__` is
steps two to nine; reading and keeping belong to whoever has the files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from volunet.findings import Finding, refuse_if_needed
from volunet.inference.cover import cover
from volunet.inference.engines.torch_engine import Engine
from volunet.inference.native import label_native
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.gate import judge
from volunet.planning.plan import Plan
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
        engine: the network, ready to look at batches of windows.
        fingerprint: of the training set, against which scans are judged.
        identity: SHA-256 of plan and weights.
    """

    engine: Engine
    plan: Plan
    fingerprint: Fingerprint
    identity: str

    def __call__(self, scan: Volume, *, accept: Collection[str] = ()) -> Segmentation:
        """Labels of a scan on its own grid.

        Args:
            scan: (C, I, J, K), as `volunet.read` gives it.
            accept: codes of refusals to waive.

        Raises:
            Refused: the scan is unfit for the model; the findings say why.
        """
        findings = refuse_if_needed(judge(scan, self.plan, self.fingerprint), accept)  # judge
        grid = self.plan.grid_for(scan.grid)  # aim
        seen = self.plan.prepare(scan)  # prepare
        slabs = cover(self.engine, seen.voxels, self.plan.patch, overlap=self.plan.overlap)
        index = label_native(slabs, grid, scan.grid)  # cut, look, blend, return
        labels = Volume(self.plan.labels.to_values(index)[None], scan.grid)  # tidy
        how: dict[str, Any] = {
            "model": self.identity,
            "plan_shape": list(grid.shape),
            "plan_spacing_mm": list(grid.spacing),
        }
        return Segmentation(labels, findings, how)
