"""A network as data: what it takes and gives, its family, and the settings of that family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field
from torch import nn

from volunet.config import Settings
from volunet.models.layer_settings import USUAL, LayerSettings

SHAPING = ("features", "strides", "kernels", "residual", "attention", "layers")
"""Fields of a specification that a family may heed or not."""


class ModelSpec(Settings):
    """A network as data.

    Args:
        family: a name in `volunet.models.families.FAMILIES`.
        spatial_dims: axes of an image.
        in_channels: of an image.
        out_channels: logits of each voxel.
        features: channels of each stage, finest first.
        strides: what each stage after the first divides the image by, along each axis.
        kernels: side of the convolutions of each stage, along each axis.
        residual: blocks add their input to their output.
        attention: gates on the skip connections.
        layers: normalisation, activation, dropout and first weights.
        options: what else the family takes, by name.
    """

    family: str = "unet"
    spatial_dims: Literal[2, 3] = 3
    in_channels: int
    out_channels: int
    features: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    residual: bool = False
    attention: bool = False
    layers: LayerSettings = USUAL
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def ends(self) -> dict[str, int]:
        """Axes and channels, as all networks take them."""
        return {
            "spatial_dims": self.spatial_dims,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
        }


class NoOptions(Settings):
    """Of a family that takes nothing but the fields of a specification."""


@dataclass(frozen=True)
class Stages:
    """Stages that a family has whatever is wanted.

    Args:
        features: channels of each, finest first.
        strides: what each after the first divides an image by, along every axis.
    """

    features: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """Networks that are built by one rule.

    Args:
        make: a network from a specification and its options, read.
        source: the paper, or whose code it is.
        options: the settings that it takes beside those that it heeds.
        heeds: fields of a specification that change what is built, of `SHAPING`.
        stages: those it has whatever is wanted, from its options; None where it heeds features
            and strides.
        u_shape: it can be supervised at coarser scales, and computed again stage by stage.
    """

    make: Callable[[ModelSpec, Any], nn.Module]
    source: str
    options: type[Settings] = NoOptions
    heeds: frozenset[str] = field(default=frozenset({"features", "strides", "kernels"}))
    stages: Callable[[Any], Stages] | None = None
    u_shape: bool = True
