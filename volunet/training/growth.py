"""Patches that begin small and grow as the budget is spent.

A patch of half the sides costs an eighth of a step, so that early in a run, when any patch teaches
something, many more steps are taken; later ones show what the network sees at inference
(progressive learning: Tan and Le 2021, arXiv:2104.00298, for images).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from volunet.config import Settings
from volunet.planning.network_plan import NetworkPlan, Size


class Growth(Settings):
    """How patches grow.

    Args:
        begin: each side's share at the first step, rounded up to what the network takes; 1 for
            whole patches from the first step on.
        until: share of the budget after which patches are whole.
    """

    begin: Annotated[float, Field(gt=0, le=1)] = 1.0
    until: Annotated[float, Field(gt=0, le=1)] = 0.5

    def patch_at(self, progress: float, plan: NetworkPlan) -> Size:
        """The patch at a moment of the run, the plan's own at most.

        Args:
            progress: of the budget, from 0 to 1.
        """
        share = self.begin + (1 - self.begin) * progress / self.until
        if share >= 1:
            return plan.patch
        # Two voxels in the deepest maps at least: normalisation has nothing to do with one.
        least = zip(plan.patch, plan.sizes.step, strict=True)
        r, a, s = (max(round(share * n), min(2 * step, n)) for n, step in least)
        near = plan.nearest_patch((r, a, s))
        r, a, s = map(min, near, plan.patch)
        return r, a, s
