"""Rules that make a plan from a fingerprint, one small function each.

Source, where none is named: nnU-Net's published heuristics (Isensee et al. 2021, Nature Methods
18, supplementary note 2). Where volunet departs from them, the docstring says why. Axes: R, A, S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

import numpy as np

from volunet.planning.fingerprint import Fingerprint, median_spacing
from volunet.planning.intensity import Intensity
from volunet.planning.machine import Machine
from volunet.space.grid import Triple

Size = tuple[int, int, int]
ANISOTROPIC = 3.0
"""An axis this many times coarser than the others is thick."""
SMALLEST_SIDE = 4
"""Voxels that a feature map keeps along each axis at the coarsest stage."""
MOST_STRIDES = 5
FEW_SLICES = 2 * SMALLEST_SIDE
"""With fewer slices than this, thick ones cannot be halved: a volume has nothing to add to them."""
FAR_APART = 10.0
"""Slices this many times as thick as their pixels show neighbours little of each other."""
TOP_OF_8_BITS, TOP_OF_12_BITS = 255, 4095
LARGEST_MM = 100.0


@dataclass(frozen=True)
class Slices:
    """Whether a network sees slices one by one.

    Args:
        axis: across the slices; None where it sees volumes.
        reason: the end of a sentence: "the network sees ...".
    """

    axis: int | None
    reason: str


def choose_spacing(fingerprint: Fingerprint) -> Triple:
    """The median spacing; for a thick axis its 10 % quantile, so that thin-sliced scans count.

    An axis is thick where its median spacing is three times the others' and it has less than a
    third of their voxels.
    """
    spacing = np.array(median_spacing(fingerprint))
    shape = np.median(fingerprint.shapes, axis=0)
    worst = int(spacing.argmax())
    others = np.delete(np.arange(3), worst)
    thick = spacing[worst] > ANISOTROPIC * spacing[others].max()
    if thick and shape[worst] * ANISOTROPIC < shape[others].min():
        tenth = float(np.quantile(fingerprint.spacings[:, worst], 0.1))
        spacing[worst] = max(tenth, float(spacing[others].max()))
    r, a, s = (round(float(mm), 6) for mm in spacing)
    return r, a, s


def spacing_of_size(fingerprint: Fingerprint, size: Size) -> Triple:
    """The median spacing of the scans once each has this size, at most `LARGEST_MM`."""
    extents = np.median(fingerprint.shapes * fingerprint.spacings, axis=0)
    r, a, s = np.minimum(extents / np.array(size), LARGEST_MM).round(6).tolist()
    return r, a, s


def choose_slices(shape: Size, spacing: Triple, wanted: int | None = None) -> Slices:
    """Volumes, unless slices are so thick or so few that they have little to say of each other.

    nnU-Net trains both kinds and compares them; here one is chosen beforehand: slices where one
    axis is at least `FAR_APART` times as coarse as the others, or `ANISOTROPIC` times with fewer
    than `FEW_SLICES` slices, or where there is but one slice.

    Args:
        shape: of the median scan at this spacing.
        wanted: 2 or 3 where somebody has chosen.
    """
    single = [axis for axis in range(3) if shape[axis] == 1]
    across = max(single or range(3), key=lambda axis: (spacing[axis], -shape[axis]))
    finer = max(mm for axis, mm in enumerate(spacing) if axis != across)
    ratio, slices, name = spacing[across] / finer, shape[across], "RAS"[across]
    told = f"{slices} slices along {name}, {ratio:.3g} times as thick as their pixels"
    thick = ratio >= FAR_APART or (ratio >= ANISOTROPIC and slices < FEW_SLICES) or slices == 1
    if thick if wanted is None else wanted == 2:
        return Slices(across, f"slices one by one: {told}")
    return Slices(None, f"volumes: {told}")


def choose_shape(fingerprint: Fingerprint, spacing: Triple) -> Size:
    """The median shape of the scans once they have this spacing."""
    r, a, s = np.median(fingerprint.shapes * fingerprint.spacings / np.array(spacing), axis=0)
    return max(round(float(r)), 1), max(round(float(a)), 1), max(round(float(s)), 1)


def patch_voxels(machine: Machine) -> int:
    """Most voxels of a patch.

    On a GPU 128 cubed at 8 GB and in proportion up to 192 cubed. On a CPU 80,000 for each core
    (at least 100,000, at most 128 cubed), since time is what is short there: a step then takes
    about half a second, and in short budgets many small steps win (measured, docs/benchmarks).
    """
    if machine.device == "cpu":
        return min(max(80_000 * machine.cores, 100_000), 128**3)
    return int(min(128**3 * machine.memory_gb / 8, 192**3))


def choose_patch(shape: Size, spacing: Triple, most_voxels: int) -> Size:
    """As much of the median scan as `most_voxels` allows, near to a cube in mm."""
    patch = np.array(shape, dtype=np.float64)
    while prod(patch) > most_voxels:
        longest = int((patch * np.array(spacing)).argmax())
        patch[longest] *= 0.97
    r, a, s = (max(round(float(n)), 1) for n in patch)
    return r, a, s


def choose_strides(patch: Size, spacing: Triple, *, most: int = MOST_STRIDES) -> tuple[Size, ...]:
    """Strides of every stage after the first, at most `most`: thick axes are halved later.

    An axis is halved while it has twice `SMALLEST_SIDE` voxels and is less than twice as coarse
    as the finest axis that can be halved. A scan too small to be halved still gets a second stage.
    """
    size, coarse = list(patch), list(spacing)
    strides: list[Size] = []
    while len(strides) < most:
        able = [axis for axis in range(3) if size[axis] >= 2 * SMALLEST_SIDE]
        if not able:
            break
        finest = min(coarse[axis] for axis in able)
        r, a, s = (2 if axis in able and coarse[axis] < 2 * finest else 1 for axis in range(3))
        strides.append((r, a, s))
        size = [-(-n // step) for n, step in zip(size, (r, a, s), strict=True)]
        coarse = [mm * step for mm, step in zip(coarse, (r, a, s), strict=True)]
    return tuple(strides) or ((1, 1, 1),)


def choose_kernels(
    spacing: Triple, strides: Sequence[Size], *, flat: int | None = None
) -> tuple[Size, ...]:
    """Kernels of every stage: 3 along an axis once it is less than twice as coarse as the finest.

    Before that 1: the slices of a thick axis are looked at one by one.

    Args:
        flat: the axis across slices that are always looked at one by one.
    """
    coarse = np.array([inf if axis == flat else mm for axis, mm in enumerate(spacing)])
    kernel: Size = (1, 1, 1)
    kernels = []
    for stride in ((1, 1, 1), *strides):
        coarse = coarse * stride
        r, a, s = np.where(coarse < 2 * coarse.min(), 3, kernel).tolist()
        kernel = (r, a, s)
        kernels.append(kernel)
    return tuple(kernels)


def choose_features(stages: int, machine: Machine) -> tuple[int, ...]:
    """Channels of each stage, doubled from stage to stage up to 320 (3-D).

    nnU-Net starts from 32. On a CPU volunet starts from 16: a quarter of the cost, so four times
    the steps in the same minutes (measured, docs/benchmarks).
    """
    first = 16 if machine.device == "cpu" else 32
    return tuple(min(first * 2**stage, 320) for stage in range(stages))


def chooses_residual(family: str, *, estimates: bool) -> bool:
    """Whether blocks add their input to their output: in U-Nets that segment.

    In equal minutes on a CPU they found more than plain ones (measured, docs/benchmarks), though a
    step takes a tenth to a third longer. Nothing is known of networks that estimate values.
    """
    return family == "unet" and not estimates


def choose_intensity(
    name: str, fingerprint: Fingerprint, channel: int, *, outliers: float = 0.005
) -> Intensity:
    """Clipping and scaling by the set's foreground for CT, each image's own mean for all else.

    Plain pictures of one type are brought to [0, 1] by the range of that type, so that what is
    dark stays dark; those of cameras with 12 bits, which come in 16, by the range of 12. Each
    channel is judged alone.

    Args:
        name: the channel's name; one of its words is CT where the unit is HU.
        outliers: share of the foreground that is clipped at either end.
    """
    if top := _top(fingerprint, channel):
        return Intensity(scheme="set", low=0, high=top, mean=0, sd=top)
    if "ct" not in name.lower().replace("_", " ").replace("-", " ").split():
        return Intensity(scheme="image")
    low = fingerprint.foreground_quantile(channel, outliers)
    high = fingerprint.foreground_quantile(channel, 1 - outliers)
    mean, sd = fingerprint.foreground_moments(channel)
    if not (low < high and sd > 0):
        return Intensity(scheme="image")
    return Intensity(scheme="set", low=low, high=high, mean=mean, sd=sd)


def _top(fingerprint: Fingerprint, channel: int) -> float:
    """The number that is full brightness in a channel of all pictures; 0 where there is none.

    Nor is there where files of 16 bits hold no more than 8, as where one channel of several has.
    """
    tops = {case.top for case in fingerprint.cases.values()}
    if len(tops) > 1 or not (top := max(tops, default=0)):
        return 0.0
    seen = max(case.channels[channel].image[-1] for case in fingerprint.cases.values())
    if seen <= TOP_OF_8_BITS < top:
        return 0.0
    return float(min(top, TOP_OF_12_BITS) if seen <= TOP_OF_12_BITS else top)


def largest_batch(patch: Size, fingerprint: Fingerprint, spacing: Triple, machine: Machine) -> int:
    """Patches in a step before memory is asked: at most 5 % of the set's voxels, and 2 on a CPU.

    Batches of two beat larger ones in short budgets on a CPU (measured, docs/benchmarks).
    """
    if machine.device == "cpu":
        return 2
    voxels = float((fingerprint.shapes * fingerprint.spacings / np.array(spacing)).prod(1).sum())
    return max(2, min(64, int(0.05 * voxels / prod(patch))))
