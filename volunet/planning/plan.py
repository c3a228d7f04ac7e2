"""What is done to every scan before the network sees it, and what the network is, as data.

A plan is saved beside the weights, readable and editable, and strict when it is read back. Axes
are the patient's: R, A, S.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from volunet.planning.intensity import Intensity, normalise_in_place
from volunet.planning.network_plan import Count, NetworkPlan, Size
from volunet.planning.way_back import WayBack
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.resample import resample_slabs
from volunet.space.volume import Volume

Millimetres = Annotated[float, Field(gt=0, le=100)]


class Plan(NetworkPlan):
    """How a scan becomes the network's input, and the network that looks at it.

    Args, beside those of the network:
        spacing: in mm, along R, A and S.
        size: voxels along R, A and S that every image is brought to, whatever its own; None keeps
            to `spacing`.
        intensities: how each channel is scaled.
        interpolation: how images are brought to `spacing`.
        batch: patches in a training step.
        overlap: least part of a window's side shared with the next one, at inference.
    """

    format: Literal[1] = 1
    spacing: tuple[Millimetres, Millimetres, Millimetres]
    size: Size | None = None
    intensities: tuple[Intensity, ...]
    interpolation: Literal["linear", "cubic"] = "linear"
    batch: Count
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _scale_all_channels(self) -> Self:
        if len(self.intensities) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels need as many intensities")
        return self

    @property
    def nnunet_windows(self) -> bool:
        """Whether windows stand and count as nnU-Net has it."""
        return False

    @property
    def axis_names(self) -> str:
        """What the axes of `oriented` are called."""
        return "RAS"

    def oriented(self, scan: Grid) -> Grid:
        """The scan's grid with the axes that spacings are compared along: R, A and S."""
        return scan.reoriented("RAS")

    def way_back(self, scan: Grid) -> WayBack:
        """The rules for the way back to the scan's own grid."""
        values = self.labels.values
        return WayBack(regions=tuple(1 + values.index(value) for value in self.order))

    def grid_for(self, scan: Grid) -> Grid:
        """The grid the network works on for a scan: RAS, at the plan's spacing or of its size.

        No voxel is needed.
        """
        turned = scan.reoriented("RAS")
        if self.size is not None:
            return turned.with_shape(self.size)
        if np.allclose(turned.spacing, self.spacing, rtol=1e-3):
            return turned
        return turned.respaced(self.spacing)

    def prepare(self, scan: Volume, box: Box | None = None) -> Volume:
        """The scan as the network wants it: float32 (C, *grid_for(scan.grid).shape).

        The scan is turned first, which moves voxels without changing them, so that the result
        does not depend on how a file's axes run. Beside the result no copy of the scan is made,
        but for one in its own type where its grid is tilted against the plan's.

        Args:
            box: the part of that grid that is wanted. Where a channel is scaled by what the whole
                image holds, the whole image is prepared first.
        """
        whole = any(intensity.scheme == "image" for intensity in self.intensities)
        if box is not None and whole:
            return self.prepare(scan).crop(box)
        turned = scan.reoriented("RAS")
        grid = self.grid_for(scan.grid)
        grid = grid if box is None else grid.crop(box)
        voxels = np.empty((scan.channels, *grid.shape), dtype=np.float32)
        for first, rows in resample_slabs(turned, grid, method=self.interpolation):
            voxels[:, first : first + rows.shape[1]] = rows.numpy()
        for channel, intensity in zip(voxels, self.intensities, strict=True):
            normalise_in_place(channel, intensity)
        return Volume(voxels, grid)
