"""The stages of a planned network: as the rules have them, or as its family does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volunet.errors import ConfigError
from volunet.models.families import family_of, read_options
from volunet.models.spec import SHAPING, Family
from volunet.planning.machine import Machine
from volunet.planning.rules import (
    MOST_STRIDES,
    Size,
    choose_features,
    choose_kernels,
    choose_strides,
)
from volunet.space.grid import Triple


def choose_stages(
    patch: Size,
    spacing: Triple,
    machine: Machine,
    fixed: Mapping[str, Any],
    *,
    flat: int | None = None,
) -> dict[str, Any]:
    """Features, strides and kernels for a patch of about this size.

    Args:
        fixed: fields of `Plan` that the user wants so, the family and its options among them.
        flat: the axis across slices that are looked at one by one.

    Raises:
        ConfigError: there is no such family, or it does not heed what is wanted.
    """
    name = fixed.get("family", "unet")
    family, options = family_of(name), read_options(name, fixed.get("options", {}))
    _refuse_unheeded(name, family, fixed)
    features: tuple[int, ...] | None = fixed.get("features")
    if family.stages is not None:
        given = family.stages(options)
        features, strides = given.features, tuple(_along(n, flat) for n in given.strides)
    else:
        most = MOST_STRIDES if features is None else len(features) - 1
        strides = fixed.get("strides") or choose_strides(patch, spacing, most=most)
        if "strides" not in family.heeds:
            strides = tuple(_along(2, flat) for _ in (features[1:] if features else strides))
        features = features or choose_features(len(strides) + 1, machine)
    if "kernels" in family.heeds:
        kernels = fixed.get("kernels") or choose_kernels(spacing, strides, flat=flat)
    else:
        kernels = tuple(_along(3, flat) for _ in features)
    return {"features": features, "strides": strides, "kernels": kernels}


def _along(number: int, flat: int | None) -> Size:
    """The same along every axis, but 1 across slices."""
    r, a, s = (1 if axis == flat else number for axis in range(3))
    return r, a, s


def _refuse_unheeded(name: str, family: Family, fixed: Mapping[str, Any]) -> None:
    odd = [field for field in SHAPING if fixed.get(field) and field not in family.heeds]
    if odd:
        heeded = ", ".join(f"plan.{field}" for field in SHAPING if field in family.heeds)
        raise ConfigError(
            f"The family {name} does not heed {', '.join(f'plan.{field}' for field in odd)}; it "
            f"heeds {heeded or 'none of these'} and plan.options. Take the keys out of the recipe."
        )
