"""Where to look, and how much each voxel of a window is worth when windows are blended.

Images are (C, *S). Sources: evenly spaced windows and Gaussian weights, Isensee et al. 2021
(nnU-Net, 10.1038/s41592-020-01008-z), the weights with the formula of MONAI's importance map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from math import ceil

import torch
from torch import Tensor

from volunet.errors import ShapeError
from volunet.inference.engines.torch_engine import Engine
from volunet.space.box import Box

Tile = tuple[Box, Tensor]
"""A window, and (classes, *window) of what the network says of it."""


def plan_windows(shape: tuple[int, ...], patch: tuple[int, ...], overlap: float = 0.5) -> list[Box]:
    """Windows of size `patch` that cover an image of size `shape`, in order along the first axis.

    Args:
        overlap: least part of a window's side that it shares with the next one, in [0, 1).

    Raises:
        ShapeError: the patch is larger than the image, or the overlap is out of range.
    """
    if not 0 <= overlap < 1:
        raise ShapeError(f"The overlap must be in [0, 1), got {overlap}.")
    if len(shape) != len(patch) or any(p > n for n, p in zip(shape, patch, strict=True)):
        needed = tuple(map(max, shape, patch))
        raise ShapeError(f"Patch {patch} does not fit image {shape}; pad the image to {needed}.")
    starts = (_starts(n, p, overlap) for n, p in zip(shape, patch, strict=True))
    return [
        Box(at, tuple(a + p for a, p in zip(at, patch, strict=True))) for at in product(*starts)
    ]


def _starts(length: int, patch: int, overlap: float) -> list[int]:
    """The fewest evenly spaced starts that keep the overlap and reach both ends."""
    stride = max(1, int(patch * (1 - overlap)))
    gaps = ceil((length - patch) / stride)
    return [round(i * (length - patch) / gaps) for i in range(gaps + 1)] if gaps else [0]


def axis_weights(length: int, *, sigma: float = 0.125) -> Tensor:
    """A Gaussian along one side of a window, (length,) float32, at most 1.

    Args:
        sigma: standard deviation, in sides of the window.
    """
    from_centre = torch.arange(length, dtype=torch.float32) - (length - 1) / 2
    return torch.exp(-(from_centre**2) / (2 * (sigma * length) ** 2))


def gaussian(patch: tuple[int, ...], *, floor: float = 1e-3) -> Tensor:
    """Weights of a window (*patch): the product of its sides' Gaussians, at least `floor`."""
    weights = reduce(lambda grown, side: grown[..., None] * side, map(axis_weights, patch))
    return weights.clamp_min(floor)


def look(
    engine: Engine, image: Tensor, windows: Sequence[Box], *, batch: int = 1
) -> Iterator[Tile]:
    """What the engine says of each window of `image` (C, *S), as it is asked for.

    Args:
        batch: windows given to the engine at once.
    """
    for first in range(0, len(windows), batch):
        group = windows[first : first + batch]
        logits = engine(torch.stack([image[window.index] for window in group]))
        yield from zip(group, logits, strict=True)
