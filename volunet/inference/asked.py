"""Labels as they were asked for: all of a scan or some of it, in whatever time or in a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Finding, finding
from volunet.inference.deadline import InTime, Watch, at_first_sight, label_in_time
from volunet.inference.effort import Effort
from volunet.inference.labelling import Labelling
from volunet.inference.place import Place, at_least, with_margin
from volunet.inference.roi import Roi, Structures

SURE = 0.999
"""Share of a first look's doubt from which on a mask is as good as without a deadline."""


@dataclass(frozen=True)
class Made:
    """Labels, and how they came to be.

    Args:
        labels: (I, J, K) class indices on the scan's grid.
        labelling: of what was looked at.
        sure: share of a first look's doubt that was looked at again; 1 without a limit.
        only: label values that were asked for and found; None for all.
    """

    labels: NDArray[Any]
    labelling: Labelling
    findings: tuple[Finding, ...] = ()
    sure: float = 1.0
    only: tuple[int, ...] | None = None


def label_as_asked(
    labelling: Labelling,
    effort: Effort,
    watch: Watch,
    *,
    roi: Roi | None = None,
    ending_s: Callable[[NDArray[Any]], float] = lambda labels: 0.0,
) -> Made:
    """Class indices on the scan's grid.

    Args:
        watch: with the time that is left; `inf` is no limit.
        roi: structures that are asked for; a place is the view's already, and adds its findings.
        ending_s: how long it takes to finish with labels like these.

    Raises:
        OutOfTime: the scan cannot be looked at once in time.
    """
    findings = roi.findings if isinstance(roi, Place) else ()
    if isinstance(roi, Structures):
        quick = at_first_sight(labelling, effort, watch)
        box, roi, findings = roi.find(quick, effort, labelling.plan.labels)
        if box is None:
            kind = np.min_scalar_type(labelling.plan.labels.classes - 1)
            return Made(np.zeros(labelling.native.shape, dtype=kind), labelling, findings, only=())
        plan, shape = labelling.plan, labelling.view.seen.grid.shape
        box = at_least(with_margin(box, plan.patch, shape), plan.patch, shape)
        labelling = replace(labelling, view=labelling.view.part(box, plan))
    if watch.limit_s == inf:
        made = InTime(labelling.run(effort), 1.0)
    else:
        made = label_in_time(labelling, effort, watch, ending_s=ending_s)
    if isinstance(roi, Structures):
        findings += roi.find_cut(made.labels, labelling)
    if made.sure < SURE:
        message = (
            f"Of the doubt that a first look left, {100 * made.sure:.0f} % were looked at again "
            f"within {watch.limit_s:.3g} s."
        )
        findings += (finding("RUN-HURRIED", message, sure=round(made.sure, 4)),)
    only = roi.values if isinstance(roi, Structures) else None
    return Made(made.labels, labelling, findings, made.sure, only)
