"""An imported plan of nnU-Net's as the start of one of volunet's own, for training further.

volunet's axes are the patient's R, A and S; nnU-Net's are those of the file, last one first, and
permuted. Files are taken to run along right-left, back-front and feet-head, as most do: an axis
that runs the other way is one that nnU-Net mirrored in training anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from volunet.errors import ConfigError
from volunet.planning.nnunet_intensity import NnunetIntensity
from volunet.planning.nnunet_plan import NnunetPlan

SCHEMES = {"ct": "set", "zscore": "image"}
"""volunet's intensities that do what nnU-Net's do, but for a mask."""


def plan_fields(plan: NnunetPlan) -> dict[str, Any]:
    """Fields of `volunet.planning.plan.Plan` for a network of nnU-Net's.

    Images are resampled by volunet's rules and not cropped to what is not 0, so the network sees
    nearly what it was trained on.

    Raises:
        ConfigError: the network is for slices, its heads are not known, or its images are scaled as
            volunet's plans do not.
    """
    if len(plan.spacing) == 2:
        raise ConfigError(
            "The model was imported from a network for slices (2d), which volunet cannot train "
            "further. Start from a 3d_fullres model."
        )
    if len(plan.order) != len(plan.labels.regions) * bool(plan.order):
        raise ConfigError(
            "The model was imported by an earlier version from a network for regions of which some "
            "are single structures, and which of its heads is whose is not known. Import it again."
        )
    places = network_axes(plan)

    def turned(values: tuple[Any, ...]) -> list[Any]:
        return [values[place] for place in places]

    return {
        "dimensions": 3,
        "family": "nnunet",
        "options": {"depths": list(plan.depths), "decoder_depths": list(plan.decoder_depths)},
        "features": list(plan.features),
        "strides": [turned(stride) for stride in plan.strides],
        "kernels": [turned(kernel) for kernel in plan.kernels],
        "residual": plan.residual,
        "attention": False,
        "regions": bool(plan.order),
        "spacing": turned(plan.spacing),
        "patch": turned(plan.patch),
        "interpolation": "cubic" if plan.interpolation == 3 else "linear",
        "overlap": plan.overlap,
        "intensities": [_intensity(each) for each in plan.intensities],
    }


def turn_weights(plan: NnunetPlan, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights for axes R, A and S: kernels (out, in, *K) with K permuted."""
    places = network_axes(plan)
    order = (0, 1, *(2 + place for place in places))
    return {
        name: weight.permute(order).contiguous() if weight.ndim == 5 else weight
        for name, weight in weights.items()
    }


def head_names(plan: NnunetPlan) -> tuple[str, ...]:
    """What each row of the head tells of: background and structures, or regions."""
    return tuple(plan.labels.regions) if plan.order else ("background", *plan.labels.names)


def network_axes(plan: NnunetPlan) -> tuple[int, int, int]:
    """For each of R, A and S, the axis of the network that it is."""
    files = [2 - axis for axis in plan.transpose]  # of each axis of the network, that of the scan
    r, a, s = (files.index(axis) for axis in range(3))
    return r, a, s


def _intensity(kept: NnunetIntensity) -> dict[str, Any]:
    if kept.scheme not in SCHEMES:
        raise ConfigError(
            f"The model was imported from nnU-Net with intensities scaled by {kept.scheme!r}, "
            "which volunet's training does not do. Start from another model."
        )
    told = kept.model_dump(mode="json", exclude={"masked"}, exclude_none=True)
    return {**told, "scheme": SCHEMES[kept.scheme]}
