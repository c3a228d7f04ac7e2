"""From a fingerprint to a plan: the rules, put together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, get_type_hints

from pydantic import create_model

from volunet.config import Settings, build
from volunet.errors import ConfigError, ShapeError
from volunet.models.families import family_of
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.machine import GB, Machine
from volunet.planning.memory import LOSS_BYTES, check_learnable, training_bytes
from volunet.planning.network_plan import Size
from volunet.planning.plan import Plan
from volunet.planning.rules import (
    Slices,
    choose_intensity,
    choose_patch,
    choose_shape,
    choose_slices,
    choose_spacing,
    chooses_residual,
    largest_batch,
    patch_voxels,
    spacing_of_size,
)
from volunet.planning.stages import choose_stages
from volunet.planning.target_rules import check_spacing, finer_spacing, plan_targets
from volunet.space.grid import Triple
from volunet.space.labels import Labels

MEMORY_FIELDS = frozenset({"batch", "recompute"})
MEMORY_SHARE = 0.8
"""Part of the memory that a plan may count on."""

CHOSEN_BY_DATA = {"format", "channels", "labels", "targets"}
_WANTED: dict[str, Any] = {
    name: (kind, None)
    for name, kind in get_type_hints(Plan, include_extras=True).items()
    if name in Plan.model_fields and name not in CHOSEN_BY_DATA
}
Wanted = create_model("Wanted", __base__=Settings, **_WANTED)
"""Any of the fields of `Plan` that are not the data's to choose."""


def check_wanted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a plan that somebody wants so, each checked by itself.

    Raises:
        ConfigError: a name that plans do not know, or a value that they do not take.
    """
    return build(Wanted, values, at="plan").model_dump(exclude_unset=True)


def make_plan(
    fingerprint: Fingerprint,
    channels: tuple[str, ...],
    labels: Labels,
    machine: Machine,
    *,
    targets: tuple[str, ...] = (),
    fixed: dict[str, Any] | None = None,
    loss_bytes: float = LOSS_BYTES,
) -> Plan:
    """The plan that the rules give, with some of its values fixed beforehand.

    Args:
        targets: names of the images that are estimated, where there are no labels.
        fixed: fields of `Plan` that the user wants so; the rules choose the rest to fit.
        loss_bytes: that the loss takes for each logit.

    Raises:
        ConfigError: a fixed value does not fit, not even one patch fits the memory, or nothing can
            be learnt from such patches.
    """
    fixed = check_wanted(fixed or {})
    if targets:
        check_spacing(fixed)
    spacing, shape = _aim(fingerprint, fixed)
    slices = explain_slices(fingerprint, fixed)
    if (flat := slices.axis) is not None:
        shape = _without(flat, shape)
    wanted = fixed.get("patch") or choose_patch(shape, spacing, patch_voxels(machine))
    stages = choose_stages(wanted, spacing, machine, fixed, flat=flat)
    values: dict[str, Any] = {
        "channels": channels,
        "labels": labels,
        "dimensions": 3 if flat is None else 2,
        "spacing": spacing,
        "patch": wanted,
        "intensities": _intensities(channels, fingerprint, clips=not targets),
        **stages,
        "residual": chooses_residual(fixed.get("family", "unet"), estimates=bool(targets)),
        **(plan_targets(targets, channels, fingerprint) if targets else {}),
    }
    patch, overlap = _fit_windows(Plan.model_construct(**{**values, **fixed}))
    patch = fixed.get("patch", patch)
    values |= {"patch": patch, "overlap": overlap}
    values |= {n: v.model_dump() for n, v in values.items() if isinstance(v, Settings)}
    values["batch"] = largest_batch(patch, fingerprint, spacing, machine)
    made = build(Plan, {**values, **fixed}, at="plan")
    open_ones = {name for name in ("batch", "recompute") if name not in fixed}
    fitting = fit_memory(made, machine, free=open_ones, loss_bytes=loss_bytes)
    check_learnable(fitting)
    return _unclipped(fitting, fingerprint)


def _without(axis: int, shape: Size) -> Size:
    """The shape of one slice across an axis."""
    r, a, s = (1 if place == axis else n for place, n in enumerate(shape))
    return r, a, s


def _unclipped(plan: Plan, fingerprint: Fingerprint) -> Plan:
    """The plan, where what its network adds its answers to is not clipped beforehand.

    Raises:
        ConfigError: it is; the network would learn to add what was cut off, and it would be added
            to what was not.
    """
    for name in plan.added:
        place = plan.channels.index(name)
        intensity, (low, high) = plan.intensities[place], fingerprint.image_range(place)
        if intensity.scheme == "set" and not (intensity.low <= low and high <= intensity.high):  # type: ignore[operator]
            raise ConfigError(
                f"The network corrects {name}, which reaches from {low:.6g} to {high:.6g}, and "
                f"plan.intensities clips it to [{intensity.low:.6g}, {intensity.high:.6g}]. Give "
                "bounds that clip nothing, or plan.corrects = false."
            )
    return plan


def _intensities(
    channels: tuple[str, ...], fingerprint: Fingerprint, *, clips: bool
) -> list[dict[str, Any]]:
    """How each channel is scaled; without clipping what could then not be given back."""
    outliers = {} if clips else {"outliers": 0.0}
    return [
        choose_intensity(name, fingerprint, place, **outliers).model_dump()
        for place, name in enumerate(channels)
    ]


def _fit_windows(unchecked: Plan) -> tuple[Size, float]:
    """The patch, grown until the network takes it, and the overlap of windows.

    Without padding windows agree wherever they stand, and need not overlap. The patch stays as it
    is where the plan describes no network, of which its own checks say more.
    """
    usual: float = Plan.model_fields["overlap"].default
    try:
        sizes = unchecked.sizes
        bare = any(lost and by > 1 for lost, by in zip(sizes.margin, sizes.step, strict=True))
        overlap = 0.0 if bare else usual
        return unchecked.nearest_patch(unchecked.patch), overlap
    except ShapeError:
        return unchecked.patch, usual


def explain_slices(fingerprint: Fingerprint, fixed: Mapping[str, Any]) -> Slices:
    """Whether the network sees slices or volumes, and why.

    Args:
        fixed: fields of `Plan` that the user wants so. A network that is wanted for its patch or
            its kernels sees volumes, as they do; but slices, where the patch or the scans are one.
    """
    spacing, shape = _aim(fingerprint, fixed)
    shaped = {"patch", "kernels", "strides"} & set(fixed)
    own = 2 if 1 in fixed.get("patch", shape) else 3
    wanted = fixed.get("dimensions", own if shaped else None)
    if wanted == 2 and 1 in fixed.get("patch", ()):
        shape = fixed["patch"]  # whose axis of one voxel is the one that is wanted
    return choose_slices(shape, spacing, wanted)


def _aim(fingerprint: Fingerprint, fixed: Mapping[str, Any]) -> tuple[Triple, Size]:
    """Spacing and shape of the median scan as the network sees it."""
    size = fixed.get("size")
    if size and fixed.get("spacing"):
        raise ConfigError("Give plan.size or plan.spacing: a size sets the spacing of each image.")
    if size:
        return spacing_of_size(fingerprint, size), size
    spacing = fixed.get("spacing") or finer_spacing(fingerprint) or choose_spacing(fingerprint)
    return spacing, choose_shape(fingerprint, spacing)


def fit_memory(
    plan: Plan,
    machine: Machine,
    *,
    free: Collection[str] = MEMORY_FIELDS,
    loss_bytes: float = LOSS_BYTES,
) -> Plan:
    """The plan with the largest batch, up to its own, whose training step fits the memory.

    Where not even one patch fits, or not the batch that is wanted, feature maps are computed again
    rather than kept.

    Args:
        free: what may be chosen of the batch, which may be made smaller, and of `recompute`.
        loss_bytes: that the loss takes for each logit.

    Raises:
        ConfigError: the step does not fit, with the memory that it would take.
    """
    most = MEMORY_SHARE * machine.memory_gb * GB
    may_compute_again = "recompute" in free and family_of(plan.family).u_shape
    for again in dict.fromkeys((plan.recompute, plan.recompute or may_compute_again)):
        tried = plan.model_copy(update={"recompute": again})
        one, two = (_needed(tried, batch, machine, loss_bytes) for batch in (1, 2))
        fitting = 1 + int((most - one) // (two - one))  # memory grows evenly with the batch
        batch = min(plan.batch, max(fitting, 1)) if "batch" in free else plan.batch
        if batch <= fitting:
            return tried.model_copy(update={"batch": batch})
    again_told = " even with feature maps computed again" * tried.recompute
    raise ConfigError(
        f"A training step of patch {plan.patch}, batch {batch} would take about "
        f"{_needed(tried, batch, machine, loss_bytes) / GB:.1f} GB{again_told}, and "
        f"{most / GB:.1f} GB may be used. Set a smaller patch, batch or features in the "
        "recipe's [plan]."
    )


def _needed(plan: Plan, batch: int, machine: Machine, loss_bytes: float) -> float:
    several = plan.model_copy(update={"batch": batch})
    return training_bytes(several, half=machine.half, loss_bytes=loss_bytes)
