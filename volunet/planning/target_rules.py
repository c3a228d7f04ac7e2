"""Rules for plans of networks that estimate targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from volunet.config import build
from volunet.errors import ConfigError
from volunet.planning.fingerprint import Fingerprint, median_spacing
from volunet.planning.targets import Scale, Targets, Top
from volunet.space.grid import Triple


def plan_targets(
    names: tuple[str, ...], channels: tuple[str, ...], fingerprint: Fingerprint
) -> Mapping[str, Any]:
    """Fields of `Plan` about targets.

    Scans are seen on their own grids, or on those of finer targets, as looking them up between
    voxels would blur them. Where every target has a channel's name, the network corrects these
    channels: it starts from what is there already.

    Raises:
        ConfigError: targets are not equally fine in all cases.
    """
    scales = (None if n in channels else _scale(fingerprint, i) for i, n in enumerate(names))
    told = {"names": names, "scales": tuple(scales), "top": _top(fingerprint)}
    targets = build(Targets, {**told, "finer": _finer(fingerprint)}, at="targets")
    return {
        "targets": targets,
        "corrects": set(names) <= set(channels),
        "respace": False,
    }


def check_spacing(fixed: Mapping[str, Any]) -> None:
    """Sees to it that a spacing that somebody wants is one that scans get.

    Raises:
        ConfigError: they keep their own grids.
    """
    if "spacing" in fixed and not fixed.get("respace"):
        raise ConfigError(
            "Where images are estimated, scans keep their own grids and plan.spacing does nothing. "
            "Take it out, or set plan.respace = true."
        )


def finer_spacing(fingerprint: Fingerprint) -> Triple | None:
    """The median spacing of targets in mm; None where no case has any."""
    if not any(case.targets for case in fingerprint.cases.values()):
        return None
    r, a, s = np.divide(median_spacing(fingerprint), _finer(fingerprint)).round(6).tolist()
    return r, a, s


def _finer(fingerprint: Fingerprint) -> tuple[int, int, int]:
    seen = {case.finer for case in fingerprint.cases.values()}
    if len(seen) > 1:
        said = {
            " x ".join(map(str, finer)): [
                i for i, c in fingerprint.cases.items() if c.finer == finer
            ]
            for finer in sorted(seen)
        }
        told = "; ".join(f"{finer} in {len(ids)} ({ids[0]}, ...)" for finer, ids in said.items())
        raise ConfigError(
            "Targets have other numbers of voxels for one of the image's (along R, A and S) from "
            f"case to case: {told}. Make them equally fine, or train on one kind."
        )
    return seen.pop()


def _top(fingerprint: Fingerprint) -> Top:
    """What the pixels of targets can hold; 0 where not all targets are pictures."""
    tops = {case.target_top for case in fingerprint.cases.values()}
    if not all(tops):
        return 0
    return 255 if tops == {255} else 65535


def _scale(fingerprint: Fingerprint, target: int) -> Scale:
    mean, sd = fingerprint.target_moments(target)
    return Scale(mean=mean, sd=sd if sd > 0 else 1.0)
