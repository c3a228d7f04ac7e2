"""Judges a scan against what a model was trained on, before the network sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from volunet.findings import Finding, finding
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.space.volume import Volume

SLACK = 1.5
"""A spacing or extent may leave the training range by this factor before it is worth a warning."""


def judge(scan: Volume, plan: Plan, fingerprint: Fingerprint) -> list[Finding]:
    """What is unusual about a scan for a model.

    Returns:
        MDL-CHANNELS (refuses) where the channels are not the model's; else warnings where spacing,
        field of view or, for channels in absolute units, intensities leave the training range.
    """
    if scan.channels != len(plan.channels):
        named = ", ".join(plan.channels)
        message = f"The scan has {scan.channels} channels, the model takes {len(plan.channels)}"
        return [finding("MDL-CHANNELS", f"{message}: {named}.", channels=scan.channels)]
    grid = scan.grid.reoriented("RAS")
    spacings, shapes = fingerprint.spacings, fingerprint.shapes
    return [
        *_compare("OOD-SPACING", "spacing", grid.spacing, spacings),
        *_compare("OOD-SIZE", "field of view", grid.extent_mm, shapes * spacings),
        *_judge_intensities(scan, plan, fingerprint),
    ]


def _compare(
    code: str,
    what: str,
    seen: tuple[float, ...],
    trained: NDArray[np.float64],
) -> list[Finding]:
    low, high = trained.min(axis=0), trained.max(axis=0)
    outside = (np.array(seen) < low / SLACK) | (np.array(seen) > high * SLACK)
    if not outside.any():
        return []
    values, lows, highs = (
        " x ".join(f"{mm:.3g}" for mm in numbers) for numbers in (seen, low, high)
    )
    message = f"The {what} is {values} mm (R, A, S); the model saw {lows} to {highs}."
    return [finding(code, message, axis="RAS"[int(outside.argmax())])]


def _judge_intensities(scan: Volume, plan: Plan, fingerprint: Fingerprint) -> list[Finding]:
    found = []
    for channel, (name, intensity) in enumerate(zip(plan.channels, plan.intensities, strict=True)):
        if intensity.scheme != "set":
            continue
        low, high = fingerprint.image_range(channel)
        seen = np.quantile(scan.voxels[channel], (0.005, 0.995))
        reach = high - low
        if seen[0] < low - reach / 2 or seen[1] > high + reach / 2 or seen[1] - seen[0] < reach / 8:
            message = (
                f"{name} runs from {seen[0]:.4g} to {seen[1]:.4g} (99 % of the voxels); "
                f"the model saw {low:.4g} to {high:.4g}."
            )
            found.append(finding("OOD-INTENSITY", message, channel=name))
    return found
