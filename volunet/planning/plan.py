"""What is done to every scan before the network sees it, and what the network is, as data.

A plan is saved beside the weights, readable and editable, and strict when it is read back. Axes
are the patient's: R, A, S.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from volunet.planning.intensity import Intensity, normalise_in_place
from volunet.planning.network_plan import Count, NetworkPlan, Size
from volunet.planning.targets import Scale
from volunet.planning.way_back import WayBack
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.resample import resample_slabs
from volunet.space.volume import Volume

Millimetres = Annotated[float, Field(gt=0, le=100)]


class Plan(NetworkPlan):
    """How a scan becomes the network's input, and the network that looks at it.

    What is said of the network stands in `NetworkPlan`.

    Args:
        spacing: in mm, along R, A and S.
        size: voxels along R, A and S that every image is brought to, whatever its own; None keeps
            to `spacing`.
        respace: scans are brought to `spacing`; else each is seen on its own grid, or on the finer
            one of its targets, and `spacing` says what these usually have.
        intensities: how each channel is scaled.
        interpolation: how images are brought to `spacing`.
        batch: patches in a training step.
        overlap: least part of a window's side shared with the next one, at inference.
    """

    format: Literal[1] = 1
    spacing: tuple[Millimetres, Millimetres, Millimetres]
    size: Size | None = None
    respace: bool = True
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
        if not self.respace:
            return turned.with_shape(self._finer(turned.shape))
        if np.allclose(turned.spacing, self.spacing, rtol=1e-3):
            return turned
        return turned.respaced(self.spacing)

    def target_grid(self, scan: Grid) -> Grid:
        """Where the voxels of a scan's targets lie: its own axes and field of view."""
        times = (1, 1, 1) if self.targets is None else self.targets.finer
        along = scan.turn_to("RAS")[:, 0].astype(int)  # the patient's axis that each axis is
        i, j, k = (n * times[axis] for n, axis in zip(scan.shape, along, strict=True))
        return scan.with_shape((i, j, k))

    def _finer(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        times = (1, 1, 1) if self.targets is None else self.targets.finer
        r, a, s = (n * by for n, by in zip(shape, times, strict=True))
        return r, a, s

    def target_scales(self, scales: tuple[Scale, ...]) -> tuple[Scale, ...]:
        """How the targets of a scan are scaled, () where there are none.

        Args:
            scales: of its channels, as `prepare_scaled` gives them.
        """
        if self.targets is None:
            return ()
        known = dict(zip(self.channels, scales, strict=True))
        own = zip(self.targets.names, self.targets.scales, strict=True)
        return tuple(known[name] if scale is None else scale for name, scale in own)

    def prepare_target(self, target: Volume, grid: Grid, scales: tuple[Scale, ...]) -> Volume:
        """The targets of a scan as the network is to estimate them: float32 (T, *grid.shape).

        Args:
            target: (T, I, J, K) on any grid.
            grid: of the prepared scan.
            scales: as `target_scales` gives them.
        """
        voxels = self._on(grid, target)
        for values, scale in zip(voxels, scales, strict=True):
            values -= np.float32(scale.mean)
            values /= np.float32(scale.sd)
        return Volume(voxels, grid)

    def _on(self, grid: Grid, volume: Volume) -> NDArray[np.float32]:
        """The voxels of a volume on a grid, (C, *grid.shape)."""
        voxels = np.empty((volume.channels, *grid.shape), dtype=np.float32)
        turned = volume.reoriented("RAS")
        for first, rows in resample_slabs(turned, grid, method=self.interpolation):
            voxels[:, first : first + rows.shape[1]] = rows.numpy()
        return voxels

    def prepare(self, scan: Volume, box: Box | None = None) -> Volume:
        """The scan as the network wants it: float32 (C, *grid_for(scan.grid).shape).

        The scan is turned first, which moves voxels without changing them, so that the result
        does not depend on how a file's axes run. Beside the result no copy of the scan is made.

        Args:
            box: the part of that grid that is wanted. Where a channel is scaled by what the whole
                image holds, the whole image is prepared first.
        """
        return self.prepare_scaled(scan, box)[0]

    def prepare_scaled(
        self, scan: Volume, box: Box | None = None
    ) -> tuple[Volume, tuple[Scale, ...]]:
        """As `prepare`, and by what each channel was scaled."""
        whole = any(intensity.scheme == "image" for intensity in self.intensities)
        if box is not None and whole:
            seen, scales = self.prepare_scaled(scan)
            return seen.crop(box), scales
        grid = self.grid_for(scan.grid)
        grid = grid if box is None else grid.crop(box)
        voxels = self._on(grid, scan)
        scales = tuple(
            normalise_in_place(channel, intensity)
            for channel, intensity in zip(voxels, self.intensities, strict=True)
        )
        return Volume(voxels, grid), scales
