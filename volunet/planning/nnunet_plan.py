"""What nnU-Net v2 does to a scan before its network sees it, and what that network is, as data.

It offers what `volunet.planning.plan.Plan` does, with nnU-Net's rules: axes in the order of the
file, last one first, then permuted; a crop to the voxels that are not 0; intensities scaled before
resampling; and a resampling that knows voxel edges, but no affine. Sizes, spacings and axes of the
network are those of the permuted image. A network for slices is one for volumes of one slice.

Source: Isensee et al. 2021 (nnU-Net, 10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import binary_fill_holes

from volunet.config import Settings
from volunet.models.nnunet import NnunetUNet
from volunet.planning.network_plan import Count, Size
from volunet.planning.nnunet_intensity import NnunetIntensity
from volunet.planning.plan import Millimetres
from volunet.planning.way_back import WayBack
from volunet.space.box import Box
from volunet.space.grid import Grid, Shape
from volunet.space.labels import Labels
from volunet.space.spline import resize_edges
from volunet.space.volume import Volume


class ThickSlices(Settings):
    """When slices are resized one by one, and copied across.

    Args:
        always: True or False overrides the threshold.
        threshold: ratio of the largest to the smallest spacing above which slices are thick.
    """

    always: bool | None = None
    threshold: Annotated[float, Field(gt=0)] = 3.0

    def axis(self, *spacings: tuple[float, ...]) -> int | None:
        """The axis across the slices, by the first of the spacings that has thick ones.

        None where there are none, or where two axes share the largest spacing.
        """
        if self.always is False:
            return None
        for spacing in spacings:
            if self.always or max(spacing) / min(spacing) > self.threshold:
                coarse = [axis for axis, mm in enumerate(spacing) if mm == max(spacing)]
                return coarse[0] if len(coarse) == 1 else None
        return None


class NnunetPlan(Settings):
    """How a scan becomes the input of an imported network of nnU-Net's, and that network.

    Args:
        channels: what each channel of the image is.
        labels: the structures that are segmented.
        order: with regions: the label value that each head writes, later ones over earlier ones.
        turned: scans are turned to RAS first; else the file's axes are taken as they are.
        transpose: for each axis of the network, the axis of the file (k, j, i) that it is.
        spacing: in mm, of each axis of the network; for slices, of two of them.
        patch: voxels the network sees at a time; one along the first axis, for slices.
        intensities: how each channel is scaled.
        interpolation: order of the spline that resizes images.
        thick_image: when slices of images are thick.
        thick_logits: when slices of logits are.
        features: channels of each stage of the network, finest first.
        strides: what each stage after the first divides the patch by.
        kernels: size of the convolutions of each stage.
        depths: convolutions in each stage of the encoder, or residual blocks.
        decoder_depths: convolutions in each stage of the decoder, finest first.
        residual: the encoder has residual blocks.
        mirror: axes of the network that it was trained to see flipped.
        overlap: least part of a window's side shared with the next one.
    """

    kind: Literal["nnunet"]
    format: Literal[1] = 1
    channels: tuple[str, ...] = Field(min_length=1)
    labels: Labels
    order: tuple[int, ...] = ()
    turned: bool = False
    transpose: tuple[int, int, int] = (0, 1, 2)
    spacing: tuple[Millimetres, ...] = Field(min_length=2, max_length=3)
    patch: Size
    intensities: tuple[NnunetIntensity, ...]
    interpolation: Literal[1, 3] = 3
    thick_image: ThickSlices = ThickSlices()
    thick_logits: ThickSlices = ThickSlices()
    features: tuple[Count, ...] = Field(min_length=2)
    strides: tuple[Size, ...]
    kernels: tuple[Size, ...]
    depths: tuple[Count, ...]
    decoder_depths: tuple[Count, ...]
    residual: bool = False
    mirror: tuple[int, ...] = ()
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        stages = (len(self.kernels), len(self.depths), len(self.strides) + 1)
        if set(stages) != {len(self.features)} or len(self.decoder_depths) != len(self.strides):
            raise ValueError("features, kernels, depths and strides tell of different stages")
        if len(self.intensities) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels need as many intensities")
        if sorted(self.transpose) != [0, 1, 2] or not {0, 1, 2}.issuperset(self.mirror):
            raise ValueError(
                "transpose is an order of the axes 0, 1 and 2, and mirror some of them"
            )
        if not set(self.order) <= set(self.labels.values):
            raise ValueError(f"order {self.order} has values that no label has")
        if any(k % 2 == 0 for kernel in self.kernels for k in kernel):
            raise ValueError("kernels must be odd")
        divisor = [prod(axis) for axis in zip(*self.strides, strict=True)]
        if any(p % d for p, d in zip(self.patch, divisor, strict=True)):
            raise ValueError(f"the patch {self.patch} must be a multiple of {tuple(divisor)}")
        return self

    @property
    def margin(self) -> tuple[int, int, int]:
        """Voxels around the patch that the network sees beside it: none."""
        return 0, 0, 0

    @property
    def unpadded(self) -> None:
        """The sizes of a network without padding, which nnU-Net has none of."""
        return

    @property
    def targets(self) -> None:
        """The images that the network estimates, which nnU-Net's do not."""
        return

    @property
    def nnunet_windows(self) -> bool:
        """Whether windows stand and count as nnU-Net has it."""
        return True

    def build_network(self) -> NnunetUNet:
        """The network, with weights drawn at random."""
        return NnunetUNet(**self.network)

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of `models.nnunet.NnunetUNet` for this plan."""
        return {
            "spatial_dims": 3,
            "in_channels": len(self.channels),
            "out_channels": len(self.order) or self.labels.classes,
            "features": self.features,
            "strides": self.strides,
            "kernels": self.kernels,
            "depths": self.depths,
            "decoder_depths": self.decoder_depths,
            "residual": self.residual,
        }

    @property
    def axis_names(self) -> str:
        """What the axes of `oriented` are called."""
        return "RAS" if self.turned else "ijk"

    def oriented(self, scan: Grid) -> Grid:
        """The scan's grid with the axes that spacings are compared along: its file's own."""
        return scan.reoriented("RAS") if self.turned else scan

    def grid_for(self, scan: Grid) -> Grid:
        """The grid the network works on where nothing is cropped off a scan. No voxel needed."""
        turned = self._arranged(scan)
        return turned.with_shape(self._shape_for(turned))

    def prepare(self, scan: Volume) -> Volume:
        """The scan as the network wants it: float32 (C, I, J, K) on the grid it was cropped to."""
        source = scan.reoriented("RAS") if self.turned else scan
        axes = self._axes
        voxels = source.voxels.transpose(0, *(1 + axis for axis in axes))
        grid = self._arranged(scan.grid)
        seen = np.zeros(grid.shape, dtype=np.bool_)
        for channel in voxels:
            seen |= channel != 0
        box = Box.around(seen) or Box.whole(grid.shape)
        inside = None
        if any(intensity.masked for intensity in self.intensities):
            inside = np.asarray(binary_fill_holes(seen[box.index]))
        del seen
        cropped = grid.crop(box)
        shape = self._shape_for(cropped)
        nearest = self.thick_image.axis(_spacing(cropped), self._target(cropped))
        made = np.empty((scan.channels, *shape), dtype=np.float32)
        for channel, out, intensity in zip(voxels, made, self.intensities, strict=True):
            scaled = np.array(channel[box.index], dtype=np.float32, order="C")
            intensity.scale(scaled, inside)
            out[...] = resize_edges(scaled, shape, order=self.interpolation, nearest=nearest)
        return Volume(made, cropped.with_shape(shape))

    def way_back(self, scan: Grid) -> WayBack:
        """The rules for the way back to the scan's own grid."""
        turned = self._arranged(scan)
        nearest = self.thick_logits.axis(self._target(turned), _spacing(turned))
        classes = tuple(1 + self.labels.values.index(value) for value in self.order)
        return WayBack(nearest=nearest, cropped=True, regions=classes)

    @property
    def _axes(self) -> tuple[int, int, int]:
        """For each axis of the network, the axis (i, j, k) of the scan that it is."""
        a, b, c = (2 - axis for axis in self.transpose)
        return a, b, c

    def _arranged(self, scan: Grid) -> Grid:
        """The scan's grid with its axes as the network has them."""
        grid, axes = self.oriented(scan), list(self._axes)
        a, b, c = (grid.shape[axis] for axis in axes)
        return Grid((a, b, c), grid.affine[:, [*axes, 3]])

    def _target(self, arranged: Grid) -> tuple[float, ...]:
        """The spacing that the network works at."""
        thick = _spacing(arranged)[: 3 - len(self.spacing)]
        return (*thick, *self.spacing)

    def _shape_for(self, arranged: Grid) -> Shape:
        """How many voxels of the network's spacing fit, to the nearest whole number."""
        a, b, c = (
            max(1, round(now / wanted * n))
            for now, wanted, n in zip(
                _spacing(arranged), self._target(arranged), arranged.shape, strict=True
            )
        )
        return a, b, c


def _spacing(grid: Grid) -> tuple[float, ...]:
    """The spacing as a file holds it: an affine gives it with rounding noise, and ties count."""
    return tuple(float(np.float32(round(mm, 6))) for mm in grid.spacing)
