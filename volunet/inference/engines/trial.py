"""Windows to try engines on: cut from a scan where there is one, else noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, product
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from volunet.inference.engines.agreement import ENOUGH_VOXELS
from volunet.inference.rule import MOST_LIKELY, NO_CLASSES, Rule

WINDOWS = 2
MOST_LOOKS = 6


def cut_windows(
    image: Tensor,
    patch: tuple[int, ...],
    look: Callable[[Tensor], Tensor],
    rule: Rule = MOST_LIKELY,
) -> Tensor:
    """The windows, of up to six from the middle outwards, that show most structures.

    The first ones where the network tells of none.

    Args:
        image: (C, *S) as the network wants it, of any size.
        look: an engine, which need not be right.
        rule: how its logits make classes.

    Returns:
        (1 or 2, C, *patch).
    """
    if rule is NO_CLASSES:
        return torch.cat([*islice(_from_the_middle(image, patch), WINDOWS)])
    ranked: list[tuple[tuple[int, int], Tensor]] = []
    for window, _ in zip(_from_the_middle(image, patch), range(MOST_LOOKS), strict=False):
        classes = rule.of_map(look(window)[0].float().cpu())
        counts = torch.bincount(classes.flatten())[1:]
        shown = int((counts >= ENOUGH_VOXELS).sum()), int(counts.sum())
        ranked.append((shown, window))
    ranked.sort(key=lambda item: item[0], reverse=True)
    return torch.cat([window for _, window in ranked[:WINDOWS]])


def make_windows(channels: int, patch: tuple[int, ...], *, seed: int = 0) -> Tensor:
    """Blobs of noise (2, channels, *patch), mean 0 and standard deviation 1, as scans have."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(WINDOWS, channels, *(ceil(p / 8) + 1 for p in patch), generator=generator)
    fine = torch.randn(WINDOWS, channels, *patch, generator=generator)
    mode = "trilinear" if len(patch) == 3 else "bilinear"
    noise = F.interpolate(coarse, size=patch, mode=mode) + 0.2 * fine
    return noise / noise.std()


def _from_the_middle(image: Tensor, patch: tuple[int, ...]) -> Iterator[Tensor]:
    """Windows (1, C, *patch) side by side, the middle one first; a small image is padded."""
    short = [max(0, p - n) for n, p in zip(image.shape[1:], patch, strict=True)]
    sides = [side for s in reversed(short) for side in (s // 2, s - s // 2)]
    padded = F.pad(image, sides) if any(short) else image  # padding copies, be it by nothing
    starts = []
    for n, p in zip(padded.shape[1:], patch, strict=True):
        middle = (n - p) // 2
        starts.append([s for step in (0, 1, -1) if 0 <= (s := middle + step * p) <= n - p])
    for corner in sorted(product(*starts), key=lambda c: _distance(c, starts)):
        box = tuple(slice(a, a + p) for a, p in zip(corner, patch, strict=True))
        yield padded[(slice(None), *box)][None].contiguous()


def _distance(corner: tuple[int, ...], starts: list[list[int]]) -> int:
    return sum(abs(a - axis[0]) for a, axis in zip(corner, starts, strict=True))
