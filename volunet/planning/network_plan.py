"""The network of a plan, as data: what it sees of a prepared scan, and what it says of it.

Axes are the patient's: R, A, S.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

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
from volunet.models.slices import OfNeighbours, OfSlices
from volunet.models.spec import ModelSpec
from volunet.planning.targets import Targets
from volunet.space.labels import Labels

Count = Annotated[int, Field(ge=1, le=4096)]
Size = tuple[Count, Count, Count]


class NetworkPlan(Settings):
    """The network of a plan.

    Args:
        channels: what each channel of the image is, such as "CT" or "T1 MR".
        labels: the structures that are segmented; none where there are targets.
        targets: the images that are estimated instead.
        corrects: the network says what is to be added to the channels with the targets' names, not
            the targets themselves (residual learning, Zhang et al. 2017, arXiv:1608.03981).
        dimensions: 2 for a network that sees one slice at a time: the patch is one voxel deep along
            one axis, along which nothing is convolved.
        neighbours: slices on each side that a network of two dimensions sees as channels.
        patch: voxels the network answers at a time, along R, A and S.
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
        recompute: feature maps are computed again in the backward pass, stage by stage, which
            takes less memory and a third more time.
    """

    channels: tuple[str, ...] = Field(min_length=1)
    labels: Labels
    targets: Targets | None = None
    corrects: bool = False
    dimensions: Literal[2, 3] = 3
    neighbours: Annotated[int, Field(ge=0, le=8)] = 0
    patch: Size
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
    recompute: bool = False

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.kernels) != len(self.features) or len(self.strides) + 1 != len(self.features):
            raise ValueError(
                f"{len(self.features)} features need as many kernels, and one stride less"
            )
        if any(k % 2 == 0 for kernel in self.kernels for k in kernel):
            raise ValueError("kernels must be odd")
        if self.dimensions == 2 and self.flat is None:
            raise ValueError("a network of two dimensions takes a patch and kernels that are 1")
        if self.neighbours and self.dimensions == 3:
            raise ValueError("neighbours are for networks of two dimensions")
        if self.regions:
            _ = self.labels.written  # says what is wrong with them
        if self.supervised_scales >= len(self.features):
            raise ValueError(f"supervised_scales must be below {len(self.features)}")
        self._fit_targets()
        self._fit_family()
        return self

    def _fit_targets(self) -> None:
        if self.targets is None:
            if self.corrects:
                raise ValueError("corrects is for networks that estimate targets")
            return
        if self.labels.structures or self.regions:
            raise ValueError("a network estimates targets or tells structures apart, not both")
        if self.supervised_scales > 1:
            raise ValueError("targets are estimated at the finest scale: supervised_scales is 1")
        scaled = zip(self.targets.names, self.targets.scales, strict=True)
        alike = {name for name, scale in scaled if scale is None}
        if strangers := sorted({*alike, *self.added} - set(self.channels)):
            raise ValueError(
                f"the targets {strangers} are none of the channels {list(self.channels)}, so they "
                "need scales, and there is nothing to correct (corrects)"
            )

        if self.corrects and len(alike) < len(self.targets.names):
            raise ValueError("corrects is for targets that are scaled as their channels are")

    @property
    def added(self) -> tuple[str, ...]:
        """The channels that the network's answers are added to, one a head; () where none are."""
        return self.targets.names if self.targets is not None and self.corrects else ()

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
        wrapped = self.neighbours > 0 or len(self._in_plane) == 2
        if self.supervised_scales > 1 and (any(self.margin) or wrapped):
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
        """What each answer of the network stands for.

        Background and structures; regions; or targets.
        """
        if self.targets is not None:
            return self.targets.names
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
            in_channels=len(self.channels) * (2 * self.neighbours + 1),
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
        found, axes, more = sizes_of(self.spec), self._in_plane, self.neighbours
        if self.flat is None:
            return found

        def with_slice(values: tuple[int, ...], alone: int) -> tuple[int, ...]:
            known = (alone if a == self.flat else values[axes.index(a)] for a in range(3))
            return tuple(known)

        least, step = with_slice(found.least, 1 + 2 * more), with_slice(found.step, 1)
        return Sizes(least, step, with_slice(found.margin, more))

    def nearest_patch(self, wanted: Size) -> Size:
        """The smallest patch that the network answers and that covers the wanted one.

        Without padding it is a step long at least, as windows stand whole steps apart.
        """
        sizes = self.sizes
        least = map(max, wanted, self.unpadded.step) if self.unpadded else wanted
        r, a, s = sizes.output_of(sizes.input_for(least))
        return r, a, s

    @property
    def margin(self) -> tuple[int, int, int]:
        """Voxels around the patch that a network without padding sees beside it, on each side."""
        r, a, s = self.sizes.margin
        return r, a, s

    @property
    def unpadded(self) -> Sizes | None:
        """The sizes of a network that sees more than it answers; None for all others.

        Along an axis without a margin windows may stand anywhere, so their step is 1 there.
        """
        sizes = self.sizes
        if not any(sizes.margin):
            return None
        axes = zip(sizes.step, sizes.margin, strict=True)
        return Sizes(sizes.least, tuple(by if lost else 1 for by, lost in axes), sizes.margin)

    def build_network(self) -> nn.Module:
        """The network, with weights drawn at random: it takes patches, and its margin around."""
        network = build_network(self.spec)
        if self.recompute:
            compute_again(network)
        if len(self._in_plane) == 2:
            assert self.flat is not None
            network = OfSlices(network, self.flat)
        if self.neighbours:
            assert self.flat is not None
            network = OfNeighbours(network, self.flat)
        return network

    @property
    def head_axes(self) -> dict[str, tuple[int, ...]]:
        """The axes of each weight, by name, along which its numbers belong to one of `heads`."""
        wrappers = (len(self._in_plane) == 2) + (self.neighbours > 0)
        prefix = "net." * wrappers
        return {prefix + name: axes for name, axes in head_axes(self.spec).items()}
