"""What is done to every scan before the network sees it, and what the network is, as data.

A plan is saved beside the weights, readable and editable, and strict when it is read back. Axes
are the patient's: R, A, S.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from torch import nn

from volunet.config import Settings
from volunet.models.families import (
    build_network,
    family_of,
    head_axes,
    read_options,
    sizes_of,
)
from volunet.models.layer_settings import USUAL, LayerSettings
from volunet.models.recompute import compute_again
from volunet.models.sizes import Sizes
from volunet.models.slices import OfSlices
from volunet.models.spec import ModelSpec
from volunet.planning.intensity import Intensity, normalise_in_place
from volunet.planning.way_back import WayBack
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.resample import resample_slabs
from volunet.space.volume import Volume

Millimetres = Annotated[float, Field(gt=0, le=100)]
Count = Annotated[int, Field(ge=1, le=4096)]
Size = tuple[Count, Count, Count]


class Plan(Settings):
    """How a scan becomes the network's input, and the network that looks at it.

    Args:
        channels: what each channel of the image is, such as "CT" or "T1 MR".
        labels: the structures that are segmented.
        dimensions: 2 for a network that sees one slice at a time: the patch is one voxel deep along
            one axis, along which nothing is convolved.
        spacing: in mm, along R, A and S.
        size: voxels along R, A and S that every image is brought to, whatever its own; None keeps
            to `spacing`.
        patch: voxels the network sees at a time, along R, A and S.
        intensities: how each channel is scaled.
        interpolation: how images are brought to `spacing`.
        family: what kind of network it is, a name in `volunet.models.families`.
        features: channels of each stage of the network, finest first.
        strides: what each stage after the first divides the patch by, along each axis.
        kernels: size of the convolutions of each stage, along each axis.
        residual: residual blocks instead of plain ones.
        attention: attention gates on the skip connections.
        layers: normalisation, activation, dropout and first weights.
        options: what else the family takes, by name.
        regions: a head for each of the labels' regions, which may overlap, instead of one for each
            structure; the mask is put together from them, later regions over earlier ones.
        supervised_scales: resolutions that get a loss in training, 1 for the finest only.
        batch: patches in a training step.
        recompute: feature maps are computed again in the backward pass, stage by stage, which
            takes less memory and a third more time.
        overlap: least part of a window's side shared with the next one, at inference.
    """

    format: Literal[1] = 1
    channels: tuple[str, ...] = Field(min_length=1)
    labels: Labels
    dimensions: Literal[2, 3] = 3
    spacing: tuple[Millimetres, Millimetres, Millimetres]
    size: Size | None = None
    patch: Size
    intensities: tuple[Intensity, ...]
    interpolation: Literal["linear", "cubic"] = "linear"
    family: str = "unet"
    features: tuple[Count, ...] = Field(min_length=2)
    strides: tuple[Size, ...]
    kernels: tuple[Size, ...]
    residual: bool = False
    attention: bool = False
    layers: LayerSettings = USUAL
    options: dict[str, Any] = Field(default_factory=dict)
    regions: bool = False
    supervised_scales: Count = 1
    batch: Count
    recompute: bool = False
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.intensities) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels need as many intensities")
        if len(self.kernels) != len(self.features) or len(self.strides) + 1 != len(self.features):
            raise ValueError(
                f"{len(self.features)} features need as many kernels, and one stride less"
            )
        if any(k % 2 == 0 for kernel in self.kernels for k in kernel):
            raise ValueError("kernels must be odd")
        if self.dimensions == 2 and self.flat is None:
            raise ValueError("a network of two dimensions takes a patch and kernels that are 1")
        if self.regions:
            _ = self.labels.written  # says what is wrong with them
        if self.supervised_scales >= len(self.features):
            raise ValueError(f"supervised_scales must be below {len(self.features)}")
        self._fit_family()
        return self

    def _fit_family(self) -> None:
        family = family_of(self.family)
        read_options(self.family, self.options)
        asked = {"residual": self.residual, "attention": self.attention}
        asked |= {"layers": self.layers != USUAL}
        for name in (name for name, wanted in asked.items() if wanted):
            if name not in family.heeds:
                raise ValueError(f"the family {self.family} does not heed {name}")
        if self.supervised_scales > 1 and not family.u_shape:
            raise ValueError(f"the family {self.family} answers at the finest scale only")
        if self.supervised_scales > 1 and (any(self.margin) or len(self._in_plane) == 2):
            raise ValueError(
                f"{self.family} without padding, or for slices, answers at the finest scale only"
            )
        if self.recompute and not family.u_shape:
            raise ValueError(f"the family {self.family} cannot compute its maps again")
        lonely = self.patch == self.sizes.step != (1, 1, 1)
        if lonely and family.stages is not None and not family.u_shape:
            raise ValueError(
                f"the patch {self.patch} comes down to a single voxel in the family {self.family}; "
                "make it twice as long along an axis"
            )
        fitting = self.nearest_patch(self.patch)
        if fitting != self.patch:
            raise ValueError(
                f"the patch {self.patch} must be a multiple of {self.sizes.step}"
                if not any(self.margin)
                else f"the patch {self.patch} is none that the network answers; {fitting} is"
            )

    @property
    def flat(self) -> int | None:
        """The axis across the slices that a network of two dimensions sees; None for volumes."""
        if self.dimensions == 3:
            return None
        thin = (a for a in range(3) if self.patch[a] == 1 and {k[a] for k in self.kernels} == {1})
        return next(thin, None)

    @property
    def heads(self) -> tuple[str, ...]:
        """What each logit of the network stands for: background and structures, or regions."""
        if self.regions:
            return tuple(self.labels.regions)
        return ("background", *self.labels.names)

    @property
    def order(self) -> tuple[int, ...]:
        """With regions: the label value that each head writes, later ones over earlier ones."""
        return self.labels.written if self.regions else ()

    @property
    def network(self) -> dict[str, Any]:
        """What the network is, as data: the `ModelSpec` of this plan."""
        return self.spec.model_dump(mode="json")

    @property
    def spec(self) -> ModelSpec:
        """The network of this plan; one of two dimensions where it sees slices and can be."""
        in_plane = self._in_plane
        return ModelSpec(
            family=self.family,
            spatial_dims=2 if len(in_plane) == 2 else 3,
            in_channels=len(self.channels),
            out_channels=len(self.heads),
            features=self.features,
            strides=tuple(tuple(stride[a] for a in in_plane) for stride in self.strides),
            kernels=tuple(tuple(kernel[a] for a in in_plane) for kernel in self.kernels),
            residual=self.residual,
            attention=self.attention,
            layers=self.layers,
            options=self.options,
        )

    @property
    def _in_plane(self) -> tuple[int, ...]:
        """The axes that the network has: a U-Net whose kernels can be flat has all three."""
        thin = self.flat is not None and "kernels" not in family_of(self.family).heeds
        return tuple(axis for axis in range(3) if not (thin and axis == self.flat))

    @property
    def sizes(self) -> Sizes:
        """The patches that the network takes, and how much smaller its answers are."""
        found, axes = sizes_of(self.spec), self._in_plane
        if len(axes) == 3:
            return found

        def with_slice(values: tuple[int, ...], alone: int) -> tuple[int, ...]:
            return tuple(values[axes.index(a)] if a in axes else alone for a in range(3))

        least, step, margin = found.least, found.step, found.margin
        return Sizes(with_slice(least, 1), with_slice(step, 1), with_slice(margin, 0))

    def nearest_patch(self, wanted: Size) -> Size:
        """The smallest patch that the network answers and that covers the wanted one.

        Without padding it is a step long at least, as windows stand whole steps apart.
        """
        sizes = self.sizes
        least = map(max, wanted, sizes.step) if any(sizes.margin) else wanted
        r, a, s = sizes.output_of(sizes.input_for(least))
        return r, a, s

    @property
    def margin(self) -> tuple[int, int, int]:
        """Voxels around the patch that a network without padding sees beside it, on each side."""
        r, a, s = self.sizes.margin
        return r, a, s

    @property
    def unpadded(self) -> Sizes | None:
        """The sizes of a network without padding; None for all others."""
        return self.sizes if any(self.margin) else None

    @property
    def nnunet_windows(self) -> bool:
        """Whether windows stand and count as nnU-Net has it."""
        return False

    def build_network(self) -> nn.Module:
        """The network, with weights drawn at random: it takes patches, and its margin around."""
        network = build_network(self.spec)
        if self.recompute:
            compute_again(network)
        if len(self._in_plane) == 2:
            assert self.flat is not None
            return OfSlices(network, self.flat)
        return network

    @property
    def head_axes(self) -> dict[str, tuple[int, ...]]:
        """The axes of each weight, by name, along which its numbers belong to one of `heads`."""
        prefix = "net." if len(self._in_plane) == 2 else ""
        return {prefix + name: axes for name, axes in head_axes(self.spec).items()}

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
