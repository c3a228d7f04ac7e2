"""How hard to look at a scan: what trades time and memory against the last bit of quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, combinations

import torch

from volunet.errors import ConfigError
from volunet.planning.any_plan import AnyPlan
from volunet.planning.plan import Plan
from volunet.space.box import Box

Wanted = Callable[[Box], bool]
"""Whether a window of the padded image is worth a look."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How a prepared image is looked at.

    Args:
        overlap: least part of a window's side shared with the next one, in [0, 1).
        mirror: axes of the image (0 to 2) along which windows are also seen flipped, in all
            combinations.
        skip_air: windows of nothing but air are left out, and are background, where the training
            set tells what air is.
        crop: only the box around the body is looked at, where the same is known; the rest is
            background.
        accumulator: type of the sums of logits; float16 halves their memory.
        strips: parts that the image is worked through in, along its second axis. Memory shrinks
            with them; windows across a border are looked at twice, and the answer is the same.
        batch: windows given to the network at once.
    """

    overlap: float = 0.5
    mirror: tuple[int, ...] = ()
    skip_air: bool = False
    crop: bool = False
    accumulator: torch.dtype = torch.float32
    strips: int = 1
    batch: int = 1

    @property
    def mirrors(self) -> tuple[tuple[int, ...], ...]:
        """All sets of axes to flip, the empty one first."""
        axes = self.mirror
        return tuple(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))

    @property
    def quick(self) -> Effort:
        """The least look at all of an image: windows side by side, unmirrored."""
        return replace(self, overlap=0.0, mirror=())

    def check_sides(self, plan: AnyPlan) -> None:
        """Nothing, where mirrored looks leave left and right apart.

        Networks that were imported from nnU-Net mirror as they were trained to.

        Raises:
            ConfigError: the plan's labels tell left from right, which a mirror would swap.
        """
        if isinstance(plan, Plan) and plan.labels.tells_sides and 0 in self.mirror:
            raise ConfigError(
                "This model tells left from right, and axis 0 runs from right to left: a mirrored "
                "look along it takes one for the other. Mirror along axes 1 and 2 alone."
            )
