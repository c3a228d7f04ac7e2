"""From a fingerprint to a plan: the rules, put together."""

from __future__ import annotations

from typing import Any

from volunet.config import build
from volunet.errors import ConfigError
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.machine import GB, Machine
from volunet.planning.memory import training_bytes
from volunet.planning.plan import Plan
from volunet.planning.rules import (
    choose_features,
    choose_intensity,
    choose_patch,
    choose_shape,
    choose_spacing,
    choose_stages,
    largest_batch,
    patch_voxels,
    round_up,
)
from volunet.space.labels import Labels

MEMORY_SHARE = 0.8
"""Part of the memory that a plan may count on."""


def make_plan(
    fingerprint: Fingerprint,
    channels: tuple[str, ...],
    labels: Labels,
    machine: Machine,
    *,
    fixed: dict[str, Any] | None = None,
) -> Plan:
    """The plan that the rules give, with some of its values fixed beforehand.

    Args:
        fixed: fields of `Plan` that the user wants so; the rules choose the rest to fit.

    Raises:
        ConfigError: a fixed value does not fit, or not even one patch fits the memory.
    """
    fixed = dict(fixed or {})
    spacing = tuple(fixed.get("spacing") or choose_spacing(fingerprint))
    shape = choose_shape(fingerprint, spacing)
    wanted = fixed.get("patch") or choose_patch(shape, spacing, patch_voxels(machine))
    strides, kernels = choose_stages(tuple(wanted), spacing)
    strides, kernels = fixed.get("strides") or strides, fixed.get("kernels") or kernels
    patch = fixed.get("patch") or round_up(tuple(wanted), strides)
    values: dict[str, Any] = {
        "channels": channels,
        "labels": labels.model_dump(),
        "spacing": spacing,
        "patch": patch,
        "intensities": [
            choose_intensity(name, fingerprint, i).model_dump() for i, name in enumerate(channels)
        ],
        "features": choose_features(len(kernels), machine),
        "strides": strides,
        "kernels": kernels,
        "batch": largest_batch(tuple(patch), fingerprint, spacing, machine),
    }
    return fit_memory(
        build(Plan, {**values, **fixed}, at="plan"), machine, free="batch" not in fixed
    )


def fit_memory(plan: Plan, machine: Machine, *, free: bool = True) -> Plan:
    """The plan with the largest batch, up to its own, whose training step fits the memory.

    Args:
        free: the batch may be made smaller.

    Raises:
        ConfigError: the step does not fit, with the memory that it would take.
    """
    most = MEMORY_SHARE * machine.memory_gb * GB
    while training_bytes(plan, half=machine.device != "mps") > most:
        if plan.batch == 1 or not free:
            needed = training_bytes(plan) / GB
            raise ConfigError(
                f"A training step of patch {plan.patch}, batch {plan.batch} would take about "
                f"{needed:.1f} GB, and {most / GB:.1f} GB may be used. Set a smaller patch, batch "
                "or features in the recipe's [plan]."
            )
        plan = plan.model_copy(update={"batch": plan.batch - 1})
    return plan
