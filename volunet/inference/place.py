"""A box in the patient, and boxes of voxels that grow within an image."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from volunet.errors import ConfigError
from volunet.findings import Finding, Refused, Severity, finding
from volunet.io.masks import PLACE_ADVICE
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.volume import Volume


@dataclass(frozen=True)
class Place:
    """A box in the patient.

    Args:
        corners_mm: (8, 3) RAS+, of voxels at the box's corners.
        findings: about the file that it was marked in.
    """

    corners_mm: NDArray[np.float64]
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of_mask(cls, mask: Volume, findings: tuple[Finding, ...] = ()) -> Place:
        """The box around all that is not 0 in a mask (1, I, J, K) on any grid.

        Raises:
            ConfigError: all of it is 0.
            Refused: its file does not say where it lies, and that is not accepted (GEO-NOFORM).
        """
        if mask.sides_guessed:
            message = "The region of interest lies at a place that its file does not tell."
            severity, advice = Severity.REFUSE, PLACE_ADVICE
            raise Refused([finding("GEO-NOFORM", message, severity=severity, advice=advice)])
        box = Box.around(mask.voxels[0] != 0)
        if box is None:
            raise ConfigError("The mask of the region of interest is empty; mark what is wanted.")
        ends = np.array([box.start, box.stop]) - [[0.5], [0.5]]
        corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(-1, 3)
        return cls(mask.grid.to_world(corners), findings)

    @property
    def key(self) -> str:
        """Text that is the same for the same box."""
        return f"place {sha256(self.corners_mm.round(3).tobytes()).hexdigest()}"

    def on(self, grid: Grid) -> Box:
        """The voxels of a grid that it touches.

        Raises:
            Refused: there are none (ROI-OUTSIDE).
        """
        at = grid.to_index(self.corners_mm) + 0.5
        low = np.maximum(np.floor(at.min(axis=0) + 1e-6), 0).astype(int)
        high = np.minimum(np.ceil(at.max(axis=0) - 1e-6), grid.shape).astype(int)
        if (low >= high).any():
            raise Refused([finding("ROI-OUTSIDE", "The region of interest lies beside the scan.")])
        return Box(tuple(low.tolist()), tuple(high.tolist()))


def with_margin(box: Box, patch: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The box, grown by a quarter of a window on each side, within an image."""
    return grown(box, tuple(side // 4 for side in patch), shape)


def grown(box: Box, by: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The box, grown by so many voxels on each side of each axis, within an image."""
    sides = [
        (max(a - more, 0), min(b + more, n))
        for a, b, more, n in zip(box.start, box.stop, by, shape, strict=True)
    ]
    return Box(tuple(a for a, _ in sides), tuple(b for _, b in sides))


def at_least(box: Box, least: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """A box that is as long as asked for along each axis, as far as the image is."""
    start, stop = [], []
    for a, b, wanted, n in zip(box.start, box.stop, least, shape, strict=True):
        length = min(max(b - a, wanted), n)
        first = min(max(a - (length - (b - a)) // 2, 0), n - length)
        start.append(first)
        stop.append(first + length)
    return Box(tuple(start), tuple(stop))
