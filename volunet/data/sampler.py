"""Patches for training: first drawn (which case, where), then cut.

A share of the patches is centred on a voxel of a randomly chosen structure, so that small ones are
seen as often as large ones (Isensee et al. 2021, supplementary note 2), and rare ones more often
(`rarity`); the rest lie anywhere.
Where a patch reaches past the volume, the image is 0 (its mean, after normalisation), the label
background and a target no number, which counts in no loss; or all are mirrored, for networks that
see mirrored margins there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.data.rarity import EVEN, Repeats
from volunet.space.box import Box


class Sampled(Protocol):
    """What is needed of a prepared case."""

    @property
    def case_id(self) -> str:
        """The case's name."""

    @property
    def image(self) -> NDArray[np.float32]:
        """Voxels (C, I, J, K)."""

    @property
    def label(self) -> NDArray[Any]:
        """Class indices (I, J, K), or targets (T, I, J, K)."""

    @property
    def foreground(self) -> Mapping[int, NDArray[np.int32]]:
        """Some voxels (n, 3) of each class that occurs."""

    @property
    def drawn(self) -> NDArray[np.bool_] | None:
        """Which classes were drawn, (classes,) with background first; None for all."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One patch: a case and the voxel where the patch starts (it may lie outside)."""

    case: int
    start: tuple[int, int, int]


@dataclass(frozen=True)
class Batch:
    """Patches that are trained on together.

    Args:
        image: (B, C, *S) float32.
        label: (B, *S) class indices, int64; or targets (B, T, *S), float32, NaN where there are
            none.
        case_ids: where each patch comes from.
        drawn: (B, classes) bool, which classes were drawn in the patch's case; None where
            all were in all cases.
    """

    image: Tensor
    label: Tensor
    case_ids: tuple[str, ...]
    drawn: Tensor | None = None


def draw_patches(
    cases: Sequence[Sampled],
    size: tuple[int, int, int],
    batch: int,
    *,
    foreground_share: float,
    rng: np.random.Generator,
    repeats: Repeats = EVEN,
) -> list[Draw]:
    """Where the patches of a batch lie.

    Args:
        size: voxels of a patch along each axis.
        foreground_share: share of patches centred on a structure, in [0, 1], over many batches;
            the first patches of a batch are those.
        repeats: how often cases and structures are drawn for these.
    """
    on_structure = int(np.floor(batch * foreground_share + rng.random()))
    draws = []
    for place in range(batch):
        looked_for = place < on_structure
        case = (repeats if looked_for else EVEN).draw_case(len(cases), rng)
        centre = _a_voxel_of_a_structure(cases[case], repeats, rng) if looked_for else None
        draws.append(Draw(case, _start(cases[case].image.shape[1:], size, centre, rng)))
    return draws


def cut_patches(
    cases: Sequence[Sampled],
    draws: Sequence[Draw],
    size: tuple[int, int, int],
    *,
    source: tuple[int, int, int] | None = None,
    mirrored: bool = False,
) -> Batch:
    """The patches that were drawn, (B, C, *source) and (B, *source), or (B, T, *source).

    Args:
        size: of the patches when they were drawn.
        source: voxels to cut, with the patch in their middle; the patch alone unless given.
        mirrored: what lies past the volume is the volume mirrored, not 0.
    """
    if source is not None:
        draws, size = [_widened(draw, size, source) for draw in draws], source
    channels = cases[0].image.shape[0]
    image = np.zeros((len(draws), channels, *size), dtype=np.float32)
    label = _nothing_known(cases[0].label, len(draws), size)
    for place, draw in enumerate(draws):
        case = cases[draw.case]
        shape = case.image.shape[1:]
        if mirrored:
            where: tuple[Any, ...] = np.ix_(*map(_mirrored_places, draw.start, size, shape))
            image[place], label[place] = case.image[..., *where], case.label[..., *where]
            continue
        stop = tuple(s + n for s, n in zip(draw.start, size, strict=True))
        inside = Box(
            tuple(max(s, 0) for s in draw.start),
            tuple(min(e, n) for e, n in zip(stop, shape, strict=True)),
        )
        into = Box(
            tuple(a - s for a, s in zip(inside.start, draw.start, strict=True)),
            tuple(b - s for b, s in zip(inside.stop, draw.start, strict=True)),
        )
        image[place][into.index] = case.image[inside.index]
        label[place][into.index] = case.label[inside.index]
    ids = tuple(cases[draw.case].case_id for draw in draws)
    drawn = _drawn(cases, draws)
    return Batch(torch.from_numpy(image), torch.from_numpy(label), ids, drawn)


def _nothing_known(like: NDArray[Any], count: int, size: tuple[int, ...]) -> NDArray[Any]:
    """Labels (count, *size) of background, or targets (count, T, *size) that are no numbers."""
    if like.dtype.kind == "f":
        return np.full((count, *like.shape[:-3], *size), np.nan, dtype=like.dtype)
    return np.zeros((count, *size), dtype=np.int64)


def _mirrored_places(start: int, side: int, length: int) -> NDArray[np.intp]:
    """The voxels of an axis that a patch's side shows, where the axis is mirrored at both ends.

    >>> _mirrored_places(-2, 8, 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    period = max(2 * (length - 1), 1)
    place = np.arange(start, start + side) % period
    return np.minimum(place, period - place) if length > 1 else np.zeros_like(place)


def _drawn(cases: Sequence[Sampled], draws: Sequence[Draw]) -> Tensor | None:
    """Told of every batch where it is told of any case: processes then count the same things."""
    known = next((case.drawn for case in cases if case.drawn is not None), None)
    if known is None:
        return None
    said = [cases[draw.case].drawn for draw in draws]
    rows = [np.ones_like(known) if drawn is None else drawn for drawn in said]
    return torch.from_numpy(np.stack(rows))


def _widened(draw: Draw, size: tuple[int, int, int], source: tuple[int, int, int]) -> Draw:
    i, j, k = (s - (n - p) // 2 for s, p, n in zip(draw.start, size, source, strict=True))
    return Draw(draw.case, (i, j, k))


def _a_voxel_of_a_structure(
    case: Sampled, repeats: Repeats, rng: np.random.Generator
) -> NDArray[np.int32] | None:
    structures = [c for c in case.foreground if c > 0 and len(case.foreground[c])]
    if not structures:
        return None
    voxels = case.foreground[repeats.draw_structure(structures, rng)]
    voxel: NDArray[np.int32] = voxels[int(rng.integers(len(voxels)))]
    return voxel


def _start(
    shape: tuple[int, ...],
    size: tuple[int, int, int],
    centre: NDArray[np.int32] | None,
    rng: np.random.Generator,
) -> tuple[int, int, int]:
    """A start that keeps the patch inside the volume, or the volume inside the patch."""
    start = []
    for axis, (length, side) in enumerate(zip(shape, size, strict=True)):
        low, high = sorted((0, length - side))
        if centre is None or length <= side:
            start.append(int(rng.integers(low, high + 1)))
        else:
            start.append(int(np.clip(int(centre[axis]) - side // 2, low, high)))
    i, j, k = start
    return i, j, k
