"""All families of networks side by side: weights, work and memory for one patch."""

from __future__ import annotations

from dataclasses import dataclass

from volunet.config import build
from volunet.errors import ConfigError, MissingExtra, ShapeError
from volunet.models.families import FAMILIES
from volunet.planning.intensity import Intensity
from volunet.planning.machine import Machine
from volunet.planning.memory import cost_of, training_bytes
from volunet.planning.network_plan import Size
from volunet.planning.plan import Plan
from volunet.planning.rules import chooses_residual
from volunet.planning.stages import choose_stages
from volunet.space.labels import Labels

SPACING = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Costs:
    """What a network of a family costs, as the rules would build it.

    Args:
        plan: of the patch that it takes, which may be a little larger than what was asked for.
        parameters: its weights.
        gflop: floating-point operations of one forward pass of a patch, in 10^9.
        training_gb: peak memory of a training step with one patch, the process included, in 10^9
            bytes.
    """

    family: str
    source: str
    plan: Plan
    parameters: int
    gflop: float
    training_gb: float


@dataclass(frozen=True)
class Absent:
    """A family that cannot be built here, and why or what to do."""

    family: str
    source: str
    advice: str


def count_costs(
    patch: Size, *, channels: int, classes: int, machine: Machine
) -> list[Costs | Absent]:
    """The costs of every family for a patch of about this size at 1 mm.

    Args:
        channels: of the image.
        classes: background among them.
        machine: for which features are chosen.
    """
    rows: list[Costs | Absent] = []
    for family in FAMILIES:
        try:
            plan = plan_for_patch(
                family, patch, channels=channels, classes=classes, machine=machine
            )
            rows.append(_costs(family, plan, machine))
        except (MissingExtra, ConfigError, ShapeError) as reason:
            rows.append(Absent(family, FAMILIES[family].source, str(reason)))
    return rows


def plan_for_patch(
    family: str, patch: Size, *, channels: int, classes: int, machine: Machine
) -> Plan:
    """The plan of a family for a patch of at least this size, as the rules would build it.

    Args:
        channels: of the image.
        classes: background among them.
    """
    stages = choose_stages(patch, SPACING, machine, {"family": family})
    values = {
        "channels": tuple(f"channel {n}" for n in range(1, channels + 1)),
        "labels": Labels(structures={f"structure {n}": n for n in range(1, classes)}),
        "spacing": SPACING,
        "patch": patch,
        "intensities": (Intensity(scheme="image"),) * channels,
        "family": family,
        "residual": chooses_residual(family, estimates=False),
        "batch": 1,
        **stages,
    }
    fitting = Plan.model_construct(**values).nearest_patch(patch)
    return build(Plan, {**values, "patch": fitting}, at=family)


def _costs(family: str, plan: Plan, machine: Machine) -> Costs:
    cost = cost_of(plan)
    return Costs(
        family=family,
        source=FAMILIES[family].source,
        plan=plan,
        parameters=cost.parameters,
        gflop=2 * cost.multiply_adds / 1e9,
        training_gb=training_bytes(plan, half=machine.half) / 1e9,
    )
