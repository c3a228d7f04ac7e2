"""From a prepared scan to estimates of its targets, on its own grid or a finer one.

A map has one channel a target, so it takes no more memory than scans do, and is made whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from volunet.inference.cover import cover
from volunet.inference.effort import Effort
from volunet.inference.engines.engine import Engine
from volunet.inference.labelling import strips_of
from volunet.inference.view import View
from volunet.planning.plan import Plan
from volunet.space.picture import is_picture, picture_grid
from volunet.space.resample import resample, resample_slabs
from volunet.space.volume import Volume


def estimate(
    engines: Sequence[Engine], image: NDArray[np.float32], plan: Plan, effort: Effort
) -> NDArray[np.float32]:
    """Estimates of a prepared image, scaled as its targets are, (T, I, J, K).

    Args:
        engines: the networks of an ensemble, one at least.
        image: (C, I, J, K) as `Plan.prepare` gives it.
    """
    made = stitch(engines, image, plan, effort)
    for values, name in zip(made, plan.added, strict=False):  # none or all are corrections
        values += image[plan.channels.index(name)]
    return made


def stitch(
    engines: Sequence[Engine], image: NDArray[np.float32], plan: Plan, effort: Effort
) -> NDArray[np.float32]:
    """What the networks say of a prepared image, be it corrections or not, (T, I, J, K)."""
    made = np.empty((len(plan.heads), *image.shape[1:]), dtype=np.float32)
    shape = made.shape[1], made.shape[2], made.shape[3]
    for region, _ in strips_of(shape, effort.strips):
        slabs = cover(engines, image, plan.patch, effort, region=region, unpadded=plan.unpadded)
        for box, rows in slabs:
            made[box.index] = rows.float().cpu().numpy()
    return made


def estimate_scan(
    engines: Sequence[Engine], plan: Plan, view: View, scan: Volume, effort: Effort
) -> Volume:
    """Estimates of a scan in the targets' own unit, (T, *S).

    Corrections are added to the scan's own voxels, which no preparation clipped or blurred.

    Args:
        view: all of the scan, prepared.

    Returns:
        float32 on `plan.target_grid(scan.grid)`; of pictures whole numbers that a picture's pixels
        hold, on a picture's grid.
    """
    assert plan.targets is not None, "the plan is one of a network that estimates"
    made = stitch(engines, view.seen.voxels, plan, effort)
    for values, scale in zip(made, plan.target_scales(view.scales), strict=True):
        values *= np.float32(scale.sd)
        values += np.float32(0 if plan.corrects else scale.mean)
    aim = plan.target_grid(scan.grid)
    found = resample(Volume(made, view.seen.grid), aim, method=plan.interpolation).voxels
    for values, name in zip(found, plan.added, strict=False):
        place = plan.channels.index(name)
        own = scan.with_voxels(scan.voxels[place : place + 1])
        for first, rows in resample_slabs(own, aim, method=plan.interpolation):
            values[first : first + rows.shape[1]] += rows[0].numpy()
    if not plan.targets.top:
        return Volume(found, aim)
    np.clip(np.rint(found, out=found), 0, plan.targets.top, out=found)
    whole = found.astype(np.min_scalar_type(plan.targets.top))
    columns, rows_of, slices = aim.shape
    on_page = is_picture(scan.grid) and slices == 1
    return Volume(whole, picture_grid(columns, rows_of) if on_page else aim)
