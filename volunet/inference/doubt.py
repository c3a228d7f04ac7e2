"""How sure a first look is of each part of an image, and which windows to look at for the rest.

The edges of all windows cut the image into parts, boxes of voxels that the same windows show. The
doubt of a voxel is the chance that the runner-up is the right class, were these two the only ones:
a sigmoid of minus the margin between their logits. The doubt of a part is the sum over its voxels,
so the number of voxels that are wrong if the network is calibrated.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.inference.cover import Frame
from volunet.inference.effort import Wanted
from volunet.inference.stitch import Slab
from volunet.space.box import Box

EVERY = 2
"""Doubt is taken at every second voxel along each axis, which is enough for a sum."""


class Doubt:
    """The doubt of each part of an image, as slabs of logits come by.

    Args:
        frame: of the windows that would make it sure.
        wanted: which of them are ever looked at; all by default.
        regions: logits are of regions that may overlap, one sign each.
    """

    def __init__(self, frame: Frame, wanted: Wanted | None = None, *, regions: bool) -> None:
        self.frame, self._regions = frame, regions
        self._edges: list[NDArray[np.int64]] = []
        self._spans: list[list[tuple[int, int]]] = []
        sides = zip(frame.tiling.starts, frame.tiling.patch, frame.low, frame.shape, strict=True)
        for starts, patch, low, length in sides:
            own = np.array(starts) - low
            edges = np.unique(np.clip(np.concatenate((own, own + patch)), 0, length))
            first = np.searchsorted(own, edges[1:] - patch)
            stop = np.searchsorted(own, edges[:-1], side="right")
            self._edges.append(edges)
            self._spans.append(list(zip(first.tolist(), stop.tolist(), strict=True)))
        self.parts = np.zeros([len(spans) for spans in self._spans])
        self._boxes = {
            at: Box(corner, tuple(c + p for c, p in zip(corner, frame.tiling.patch, strict=True)))
            for at, corner in zip(
                product(*(range(len(starts)) for starts in frame.tiling.starts)),
                product(*frame.tiling.starts),
                strict=True,
            )
        }
        self._open = np.zeros([len(starts) for starts in frame.tiling.starts], dtype=np.bool_)
        for at, box in self._boxes.items():
            self._open[at] = wanted is None or wanted(frame.inside(box))

    def add(self, slab: Slab) -> None:
        """Takes in the logits (heads, rows, J, K) of some rows."""
        box, logits = slab
        doubt = doubt_of(logits[:, ::EVERY, ::EVERY, ::EVERY].float(), regions=self._regions)
        sums = doubt.cpu().double().numpy()
        for axis, (start, stop) in enumerate(zip(box.start, box.stop, strict=True)):
            part = np.searchsorted(self._edges[axis], np.arange(start, stop, EVERY), "right") - 1
            kinds = np.arange(self.parts.shape[axis])
            sums = np.tensordot(sums, part[:, None] == kinds, axes=(0, 0))
        self.parts += sums * EVERY**3

    def choose(self, most: int) -> list[Box]:
        """At most so many windows, for the parts of most doubt, in their order; maybe none."""
        chosen = np.zeros_like(self._open)
        left = most
        for place in np.argsort(-self.parts, axis=None, kind="stable"):
            at = np.unravel_index(place, self.parts.shape)
            if not self.parts[at] or not left:
                break
            span = self._windows_of(at)
            more = int(np.count_nonzero(self._open[span] & ~chosen[span]))
            if more <= left:
                chosen[span] |= self._open[span]
                left -= more
        return [self._boxes[tuple(at)] for at in np.argwhere(chosen).tolist()]

    def settle(self, seen: Container[Box]) -> NDArray[np.uint8]:
        """Which voxels of the image (I, J, K) are sure once these windows are seen: 1 or 0.

        All wanted windows that show them are among these. Their doubt is gone from then on.
        """
        missing = np.zeros([n + 1 for n in self._open.shape], dtype=np.int64)
        for at, box in self._boxes.items():
            missing[tuple(a + 1 for a in at)] = self._open[at] and box not in seen
        for axis, spans in enumerate(self._spans):
            first, stop = np.array(spans).T
            sums = missing.cumsum(axis=axis)
            missing = np.take(sums, stop, axis=axis) - np.take(sums, first, axis=axis)
        sure = (missing == 0).astype(np.uint8)
        self.parts[sure > 0] = 0
        for axis, edges in enumerate(self._edges):
            sure = np.repeat(sure, np.diff(edges), axis=axis)
        return np.asarray(sure)

    def _windows_of(self, part: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(*spans[at]) for spans, at in zip(self._spans, part, strict=True))


def doubt_of(logits: Tensor, *, regions: bool) -> Tensor:
    """The doubt of each voxel, (heads, *S) to (*S) in [0, 0.5]; 0 where nothing was looked at."""
    if regions:
        margin = logits.abs().amin(dim=0)
    else:
        best, second = torch.topk(logits, 2, dim=0).values
        margin = best - second
    return torch.where(margin == 0, 0, torch.sigmoid(-margin))
