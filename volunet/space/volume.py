"""Voxels together with the grid they sit on. Whatever moves the one moves the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation
from numpy.typing import NDArray

from volunet.errors import ShapeError
from volunet.space.box import Box
from volunet.space.grid import Grid


@dataclass(frozen=True, eq=False)
class Volume:
    """An image or a label map in the patient.

    Args:
        voxels: (C, I, J, K), one channel for a label map. Not copied.
        grid: where the voxels sit; its shape is (I, J, K).
        sides_guessed: the file did not say which side is left, and nobody said that the guess will
            do.

    Raises:
        ShapeError: the voxels do not fill the grid.
    """

    voxels: NDArray[Any]
    grid: Grid
    sides_guessed: bool = False

    def __post_init__(self) -> None:
        if self.voxels.ndim != 4 or self.voxels.shape[1:] != self.grid.shape:
            raise ShapeError(
                f"The voxels must be (C, *{self.grid.shape}) to fill their grid, "
                f"got {self.voxels.shape}. Give an image without channels as voxels[None]."
            )

    @property
    def channels(self) -> int:
        """Number of channels, 1 for a label map."""
        return int(self.voxels.shape[0])

    def with_voxels(self, voxels: NDArray[Any]) -> Volume:
        """Other voxels on the same grid, such as the labels of an image."""
        return replace(self, voxels=voxels)

    def crop(self, box: Box) -> Volume:
        """The part inside `box`. A view, not a copy.

        Raises:
            ShapeError: the box reaches outside.
        """
        ends = zip(box.start, box.stop, self.grid.shape, strict=True)
        if any(start < 0 or stop > n for start, stop, n in ends):
            raise ShapeError(
                f"The box {box.start} to {box.stop} reaches outside {self.grid.shape}; resample "
                "to the grid's crop, which may."
            )
        return replace(self, voxels=self.voxels[box.index], grid=self.grid.crop(box))

    def reoriented(self, orientation: str = "RAS") -> Volume:
        """The same patient, with axes that grow towards `orientation`. A view, not a copy."""
        turn = self.grid.turn_to(orientation)
        turned = apply_orientation(np.moveaxis(self.voxels, 0, -1), turn)
        voxels = np.moveaxis(turned, -1, 0)
        return replace(self, voxels=voxels, grid=self.grid.reoriented(orientation))

    def __repr__(self) -> str:
        return f"Volume({self.channels} x {self.voxels.dtype}, {self.grid!r})"
