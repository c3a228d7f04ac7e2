"""From logits to a class: the most likely one, or the last of several that may overlap.

Both rules have what streaming needs: where all corners around a point have one class, the point
between them has it too, for a linear blend of logits has no larger share of another.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

CHUNK = 1 << 18  # voxels whose classes are compared at once, so that they stay in the cache


class Rule(Protocol):
    """How logits of a voxel make a class, 0 for background."""

    def most(self, heads: int) -> int:
        """The largest class that so many logits can make."""

    def of_map(self, logits: Tensor) -> Tensor:
        """Classes of a map, (heads, *S) to (*S), uint8 or int32."""

    def of_voxels(self, logits: Tensor) -> Tensor:
        """Classes of voxels one by one, (n, heads) to (n,), whole numbers."""


class MostLikely:
    """One head for each class, background first: the largest logit wins, the first of equals."""

    def most(self, heads: int) -> int:
        return heads - 1

    def of_map(self, logits: Tensor) -> Tensor:
        return most_likely(logits)

    def of_voxels(self, logits: Tensor) -> Tensor:
        return logits.argmax(dim=1)


class LastPositive:
    """One head for each region, which may overlap: of those above 0, the last wins.

    Head i stands for class i + 1; background is where no logit is above 0, so where none is at
    least as likely as not.
    """

    def most(self, heads: int) -> int:
        return heads

    def of_map(self, logits: Tensor) -> Tensor:
        kind = torch.uint8 if len(logits) < 256 else torch.int32
        best = torch.zeros(logits.shape[1:], dtype=kind, device=logits.device)
        for index, region in enumerate(logits, start=1):
            best.masked_fill_(region > 0, index)
        return best

    def of_voxels(self, logits: Tensor) -> Tensor:
        numbers = torch.arange(1, logits.shape[1] + 1, device=logits.device)
        return ((logits > 0) * numbers).amax(dim=1)


class NoClasses:
    """Heads that estimate values, of which none makes a class."""

    def most(self, heads: int) -> int:
        return 0

    def of_map(self, logits: Tensor) -> Tensor:
        return torch.zeros(logits.shape[1:], dtype=torch.uint8, device=logits.device)

    def of_voxels(self, logits: Tensor) -> Tensor:
        return torch.zeros(len(logits), dtype=torch.uint8, device=logits.device)


MOST_LIKELY, LAST_POSITIVE, NO_CLASSES = MostLikely(), LastPositive(), NoClasses()


def most_likely(logits: Tensor) -> Tensor:
    """The class with the largest logit, the first of equals: (classes, *S) to (*S), uint8 or int32.

    Class by class where classes lie one after another, which reads memory in order; torch's own
    argmax takes three to eight times as long there.
    """
    classes, shape = len(logits), logits.shape[1:]
    kind = torch.uint8 if classes <= 256 else torch.int32
    if logits.device.type != "cpu" or logits.stride(0) == 1 or kind != torch.uint8:
        best = torch.empty(shape, dtype=kind, device=logits.device)
        for row, chosen in zip(logits.unbind(1), best, strict=True):
            chosen.copy_(row.argmax(dim=0))
        return best
    best = torch.zeros(shape, dtype=kind)
    rows = max(1, CHUNK * shape[0] // max(best.numel(), 1))
    for some, chosen in zip(torch.split(logits, rows, dim=1), torch.split(best, rows), strict=True):
        most = some[0].clone()
        for index, rival in enumerate(some[1:], start=1):
            wins = torch.gt(rival, most).view(torch.uint8)
            torch.maximum(chosen, wins.mul_(index), out=chosen)
            torch.maximum(most, rival, out=most)
    return best
