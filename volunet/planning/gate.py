"""Judges a scan against what a model was trained on, before the network sees it."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Finding, finding
from volunet.io.masks import guessed_sides
from volunet.planning.any_plan import AnyPlan
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.hounsfield import DARK_HU, LEAST_HU, find_offset
from volunet.space.volume import Volume

SLACK = 1.5
"""A spacing or extent may leave the training range by this factor before it is worth a warning."""
MOST = (0.005, 0.995)
"""Quantiles between which an image's intensities are compared."""
SLACK_HU = 400.0
"""By how much the bright end of a CT may lie below those of training, as where air is most."""
SPREAD = 6.0
"""Standard deviations between those quantiles of a structure, and some more."""
NEAR_0 = 100.0
"""Hounsfield units beyond which a scan that shows any air, fat or bone reaches."""
LOOKED_AT = 1 << 22
"""Voxels of a channel whose intensities are looked at; of a larger scan, an even lattice of them.
Its 0.5 % quantile rests on some 20,000 voxels, and the scan is not copied to sort it."""


def judge(scan: Volume, plan: AnyPlan, fingerprint: Fingerprint) -> list[Finding]:
    """What is unusual about a scan for a model.

    Returns:
        MDL-CHANNELS (refuses) where the channels are not the model's; else GEO-NOFORM (refuses)
        where the model tells left from right and the scan's file does not, and warnings where
        spacing, field of view or, for channels in absolute units, intensities leave the training
        range. Of an imported model's training set at most the spacings and the intensities of its
        structures are known, so that only other units are told.
    """
    if scan.channels != len(plan.channels):
        named = ", ".join(plan.channels)
        message = f"The scan has {scan.channels} channels, the model takes {len(plan.channels)}"
        return [finding("MDL-CHANNELS", f"{message}: {named}.", channels=scan.channels)]
    found = [guessed_sides()] if scan.sides_guessed and plan.labels.tells_sides else []
    if not fingerprint.cases:
        message = "Nothing is known of the scans the model was trained on."
        return [*found, finding("MDL-UNJUDGED", message), *_judge_units(scan, plan)]
    grid, axes = plan.oriented(scan.grid), plan.axis_names
    spacings, shapes = fingerprint.spacings, fingerprint.shapes
    found += _compare("OOD-SPACING", "spacing", grid.spacing, spacings, axes)
    if all(case.channels for case in fingerprint.cases.values()):
        found += _compare("OOD-SIZE", "field of view", grid.extent_mm, shapes * spacings, axes)
        found += _judge_intensities(scan, plan, fingerprint)
    else:
        found += _judge_units(scan, plan)
    return found


def _compare(
    code: str,
    what: str,
    seen: tuple[float, ...],
    trained: NDArray[np.float64],
    axes: str,
) -> list[Finding]:
    low, high = trained.min(axis=0), trained.max(axis=0)
    outside = (np.array(seen) < low / SLACK) | (np.array(seen) > high * SLACK)
    if not outside.any():
        return []
    values, lows, highs = (
        " x ".join(f"{mm:.3g}" for mm in numbers) for numbers in (seen, low, high)
    )
    message = f"The {what} is {values} mm ({', '.join(axes)}); the model saw {lows} to {highs}."
    return [finding(code, message, axis=axes[int(outside.argmax())])]


def _judge_intensities(scan: Volume, plan: AnyPlan, fingerprint: Fingerprint) -> list[Finding]:
    found = []
    voxels = _lattice(scan)
    for channel, name in enumerate(plan.channels):
        intensity = plan.intensities[channel]
        if intensity.scheme != "set":
            continue
        ends = fingerprint.image_ends(channel)
        dark, bright = np.median(ends, axis=0).tolist()
        if offset := find_offset(voxels[channel], dark, bright):
            found.append(_off(name, offset))
            continue
        trained = ends[:, 0].min(), ends[:, 1].max()
        seen = np.quantile(voxels[channel], MOST)
        in_hu = dark < DARK_HU < bright  # where what is less than air is padding
        low, high, first, last = np.maximum((*trained, *seen), LEAST_HU if in_hu else -np.inf)
        reach = high - low
        too_low = first < low - reach / 2
        if in_hu:  # how much air a scan shows is no matter
            too_low = last < min(ends[:, 1].min() - SLACK_HU, DARK_HU)
        if too_low or last > high + reach / 2 or last - first < reach / 8:
            message = (
                f"{name} runs from {seen[0]:.4g} to {seen[1]:.4g} (99 % of the voxels); "
                f"the model saw {trained[0]:.4g} to {trained[1]:.4g}."
            )
            found.append(finding("OOD-INTENSITY", message, channel=name))
    return found


def _off(name: str, offset: int) -> Finding:
    """A CT that lies so many HU too high, or too low."""
    where, bulk = ("high", "dense bone") if offset > 0 else ("low", "air")
    how = "without its rescale" if offset > 0 else "with its rescale twice"
    message = (
        f"{name} seems to lie {abs(offset)} HU too {where}, as {how}: its soft tissue is where "
        f"{bulk} should be."
    )
    advice = "Apply the scanner's rescale (slope and intercept) exactly once."
    return finding("OOD-INTENSITY", message, advice=advice, channel=name, offset_hu=offset)


def _judge_units(scan: Volume, plan: AnyPlan) -> list[Finding]:
    """Channels in absolute units that a scan can hardly be in, as one scaled to [0, 1].

    Where images are not known, what they are clipped to is, and the spread of the structures. A
    scan is wider than those, as it also shows air and bone; it is told only where it is an eighth
    as wide, has nothing of what they are clipped to, keeps near 0 where they do not, or lies 1024
    HU off them.
    """
    found, voxels = [], _lattice(scan)
    for channel, name in enumerate(plan.channels):
        told = plan.intensities[channel]
        if told.scheme not in ("set", "ct") or None in (told.low, told.high, told.sd):
            continue
        low, high, sd = (float(x) for x in (told.low, told.high, told.sd))  # type: ignore[arg-type]
        if offset := find_offset(voxels[channel], low, high):
            found.append(_off(plan.channels[channel], offset))
            continue
        first, last = np.quantile(voxels[channel], MOST)
        narrow = last - first < min(high - low, SPREAD * sd) / 8
        near_0 = max(-first, last) < NEAR_0 and (low < -2 * NEAR_0 or high > 3 * NEAR_0)
        if narrow or near_0 or last < low or first > high:
            message = (
                f"{name} runs from {first:.4g} to {last:.4g} (99 % of the voxels); the structures "
                f"that the model saw are at {low:.4g} to {high:.4g}."
            )
            found.append(finding("OOD-INTENSITY", message, channel=name))
    return found


def _lattice(scan: Volume) -> NDArray[Any]:
    """Voxels of the scan at even steps, the same ones however its axes run; all of a small scan."""
    voxels = scan.reoriented("RAS").voxels
    step = ceil((prod(voxels.shape[1:]) / LOOKED_AT) ** (1 / 3))
    return voxels[:, ::step, ::step, ::step]
