"""How a run trains: all that changes its result, beside the plan, the budget and the seed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from volunet.config import Settings
from volunet.data.augmentation import Augmentation
from volunet.models.inflation import Inflation, LearntOn
from volunet.training.growth import Growth
from volunet.training.losses.settings import LossSettings
from volunet.training.optim import Optimisation


class Training(Settings):
    """How a run trains.

    Args:
        optimisation: how weights are moved.
        loss: what is minimised.
        augmentation: how patches are changed.
        growth: how patches grow as the budget is spent.
        foreground_share: share of patches centred on a structure.
        rare_below: share of cases with a structure below which it is rare, and its cases are drawn
            more often (repeat factor sampling); 0 for all alike.
        average_power: how fast old weights fade from the average that is given away.
        validations: how often whole cases are scored, evenly over the run; the last time at its
            end.
        inflate: how an encoder's weights of two dimensions go into three, as in
            `volunet.models.inflation`.
        inflate_axis: the axis of a scan (R, A, S) that they did not see; the last, S, where they
            are for axial slices.
        learnt_on: what an encoder's weights of two dimensions were learnt on: pictures, with rows
            downwards and columns to the right, so that kernels are turned to the axes of scans (but
            those of volunet's own encoders); or arrays along these axes.
        checkpoint_s: seconds between checkpoints, at least.
        log_steps: steps between lines of the history.
    """

    optimisation: Optimisation = Optimisation()
    loss: LossSettings = LossSettings()
    augmentation: Augmentation = Augmentation()
    growth: Growth = Growth()
    foreground_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    rare_below: Annotated[float, Field(ge=0, le=1)] = 0.1
    average_power: Annotated[float, Field(ge=1)] = 10.0
    validations: Annotated[int, Field(ge=1)] = 5
    inflate: Inflation = "centre"
    inflate_axis: Literal[0, 1, 2] = 2
    learnt_on: LearntOn = "pictures"
    checkpoint_s: Annotated[float, Field(gt=0)] = 30.0
    log_steps: Annotated[int, Field(ge=1)] = 10
