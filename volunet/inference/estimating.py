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
from volunet.planning.targets import Scale
from volunet.space.grid import Grid
from volunet.space.picture import is_picture, picture_grid
from volunet.space.resample import resample
from volunet.space.volume import Volume


def estimate(
    engines: Sequence[Engine], image: NDArray[np.float32], plan: Plan, effort: Effort
) -> NDArray[np.float32]:
    """Estimates of a prepared image, scaled as its targets are, (T, I, J, K).

    Args:
        engines: the networks of an ensemble, one at least.
        image: (C, I, J, K) as `Plan.prepare` gives it.
    """
    made = np.empty((len(plan.heads), *image.shape[1:]), dtype=np.float32)
    shape = made.shape[1], made.shape[2], made.shape[3]
    for region, _ in strips_of(shape, effort.strips):
        slabs = cover(engines, image, plan.patch, effort, region=region, unpadded=plan.unpadded)
        for box, rows in slabs:
            made[box.index] = rows.float().cpu().numpy()
    for values, name in zip(made, plan.added, strict=False):  # none or all are corrections
        values += image[plan.channels.index(name)]
    return made


def estimate_scan(
    engines: Sequence[Engine], plan: Plan, view: View, native: Grid, effort: Effort
) -> Volume:
    """Estimates of a scan in the targets' own unit, (T, *S).

    Args:
        view: all of the scan, prepared.
        native: the scan's own grid.

    Returns:
        float32 on `plan.target_grid(native)`; of pictures whole numbers that a picture's pixels
        hold, on a picture's grid.
    """
    made = estimate(engines, view.seen.voxels, plan, effort)
    for values, scale in zip(made, plan.target_scales(view.scales), strict=True):
        give_back(values, scale)
    aim = plan.target_grid(native)
    seen = Volume(made, view.seen.grid).reoriented(aim.orientation)
    found = resample(seen, aim, method=plan.interpolation)
    assert plan.targets is not None, "the plan is one of a network that estimates"
    if not plan.targets.top:
        return found
    pixels = np.clip(np.rint(found.voxels), 0, plan.targets.top)
    whole = pixels.astype(np.min_scalar_type(plan.targets.top))
    columns, rows, slices = aim.shape
    on_page = is_picture(native) and slices == 1
    return Volume(whole, picture_grid(columns, rows) if on_page else aim)


def give_back(values: NDArray[np.float32], scale: Scale) -> None:
    """Brings scaled values back to their own unit, in place."""
    values *= np.float32(scale.sd)
    values += np.float32(scale.mean)
