"""What reading a file gives: its volume, and what was found about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Finding
from volunet.space.volume import Volume


@dataclass(frozen=True)
class Reading:
    """A scan or a label map that was read to its last byte.

    Args:
        volume: the voxels in the file's own grid and type.
        findings: worst first; refusals among them were accepted by the caller.
        mended: voxels (I, J, K) of a scan that were no numbers in any channel; None for none.
    """

    volume: Volume
    findings: tuple[Finding, ...]
    mended: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)

    def of_case(self, case: str) -> Reading:
        """The same reading with its findings put down to a case."""
        return replace(self, findings=tuple(found.at(case=case) for found in self.findings))
