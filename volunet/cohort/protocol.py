"""What a cohort asks of a model; `volunet.inference.segmenter.Segmenter` is one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from volunet.findings import Finding
from volunet.planning.targets import Targets
from volunet.space.labels import Labels
from volunet.space.volume import Volume


class Aims(Protocol):
    """The part of a plan that says what goes in and what comes out."""

    @property
    def channels(self) -> tuple[str, ...]:
        """What each channel of a scan is, such as "CT"."""

    @property
    def labels(self) -> Labels:
        """The structures that are segmented."""

    @property
    def targets(self) -> Targets | None:
        """The images that are estimated in their place."""


class Segmented(Protocol):
    """What became of one scan."""

    @property
    def labels(self) -> Volume:
        """(1, I, J, K) label values on the scan's own grid, or estimates of T targets."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is unusual about the scan for this model."""

    @property
    def steps(self) -> Mapping[str, float]:
        """Seconds spent, by step."""

    @property
    def how(self) -> Mapping[str, Any]:
        """How it was made, such as by which engine: values that JSON knows."""


class Model(Protocol):
    """Takes a scan and gives its labels."""

    @property
    def identity(self) -> str:
        """A hash that changes when the model would give other labels."""

    @property
    def plan(self) -> Aims:
        """What the model takes and gives."""

    @property
    def overlaps(self) -> bool:
        """Whether other scans may be read and written while one is segmented."""

    def admit(self, images: Sequence[Path], *, accept: Collection[str] = ()) -> None:
        """Refuses a scan before any voxel of its files is read.

        Raises:
            Refused: it would take more memory than it may.
        """

    def __call__(self, scan: Volume, /, *, accept: Collection[str] = ()) -> Segmented:
        """Labels of a scan (C, I, J, K).

        Raises:
            Refused: the scan is unfit for the model.
        """
