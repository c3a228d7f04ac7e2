"""A plan for a network that was trained elsewhere: all that matters is stated, nothing chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volunet.config import build
from volunet.errors import ConfigError
from volunet.models.families import family_of
from volunet.planning.machine import Machine
from volunet.planning.make import check_wanted
from volunet.planning.plan import Plan
from volunet.planning.stages import choose_stages
from volunet.space.labels import Labels

ALWAYS = ("family", "spacing", "patch", "intensities")
"""Fields that nobody but who trained the network can know."""


def plan_as_stated(values: Mapping[str, Any], channels: tuple[str, ...], labels: Labels) -> Plan:
    """The plan that somebody states, with what its family fixes.

    Args:
        values: fields of `Plan`.

    Raises:
        ConfigError: a field is missing that the network was trained with, or they do not fit.
    """
    fixed = check_wanted(values)
    heeds = family_of(fixed["family"]).heeds if "family" in fixed else frozenset()
    needed = (*ALWAYS, *(name for name in ("features", "strides") if name in heeds))
    if missing := [f"plan.{name}" for name in needed if name not in fixed]:
        raise ConfigError(
            f"The recipe does not say how the network was trained: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. State the spacing in mm and the "
            "patch along right-left, back-front and feet-head, how each channel was scaled, and "
            "the network's own settings."
        )
    nowhere = Machine("cpu", 1, 1.0)
    flat = fixed["patch"].index(1) if fixed.get("dimensions") == 2 and 1 in fixed["patch"] else None
    stages = choose_stages(fixed["patch"], fixed["spacing"], nowhere, fixed, flat=flat)
    told = {"channels": channels, "labels": labels.model_dump(), "batch": 1}
    return build(Plan, {**told, **stages, **fixed}, at="plan")
