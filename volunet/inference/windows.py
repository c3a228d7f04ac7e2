"""Where to look, and how much each voxel of a window is worth when windows are blended.

Images are (C, *S). Sources: evenly spaced windows and Gaussian weights, Isensee et al. 2021
(nnU-Net, 10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import islice, product
from math import ceil

import torch
from torch import Tensor

from volunet.errors import ShapeError
from volunet.inference.engines.engine import Engine
from volunet.space.box import Box

Shares = tuple[dict[int, Tensor], ...]
Tile = tuple[Box, Tensor]
"""A window, and (classes, *window) of what the network says of it."""


@dataclass(frozen=True)
class Tiling:
    """A regular set of windows that covers an image.

    Each axis has its own starts, and the windows stand at all combinations of these. So the weights
    of all windows that touch a voxel add up axis by axis, and each window's can be divided by their
    sum beforehand: blending is a plain sum, and no map of weights is kept.

    Args:
        shape: of the image, S.
        patch: size of a window.
        starts: of the windows, for each axis in ascending order.
        upper: weights peak at voxel n // 2 of a window's n, as nnU-Net has it, not in its middle.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    upper: bool = False

    @classmethod
    def regular(
        cls,
        shape: tuple[int, ...],
        patch: tuple[int, ...],
        overlap: float = 0.5,
        *,
        nnunet: bool = False,
        step: tuple[int, ...] = (),
    ) -> Tiling:
        """The fewest evenly spaced windows that keep the overlap and reach both ends.

        Args:
            overlap: least part of a window's side that it shares with the next one, in [0, 1).
            nnunet: as nnU-Net has it: a stride may be half a voxel, and weights peak at n // 2.
            step: what starts are a multiple of; the image is longer than the patch by one.

        Raises:
            ShapeError: the patch is larger than the image, or the overlap is out of range.
        """
        if not 0 <= overlap < 1:
            raise ShapeError(f"The overlap must be in [0, 1), got {overlap}.")
        if len(shape) != len(patch) or any(p > n for n, p in zip(shape, patch, strict=True)):
            needed = tuple(map(max, shape, patch))
            raise ShapeError(
                f"Patch {patch} does not fit image {shape}; pad the image to {needed}."
            )
        strides = [max(1.0, p * (1 - overlap)) for p in patch]
        whole = strides if nnunet else map(int, strides)
        steps = step or (1,) * len(shape)
        starts = (
            tuple(by * start for start in _starts((n - p) // by, max(s // by, 1) if by > 1 else s))
            for n, p, s, by in zip(shape, patch, whole, steps, strict=True)
        )
        return cls(tuple(shape), tuple(patch), tuple(starts), nnunet)

    def boxes(self) -> list[Box]:
        """The windows, in order along the first axis."""
        return [
            Box(at, tuple(a + p for a, p in zip(at, self.patch, strict=True)))
            for at in product(*self.starts)
        ]

    def weights(self, box: Box, shares: Shares | None = None) -> Tensor:
        """What each voxel of a window is worth, (*patch) float32 in (0, 1].

        At every voxel of the image the weights of all windows add up to 1.

        Args:
            shares: `Tiling.shares`, on the device where the weights are wanted.
        """
        lines = (by[start] for by, start in zip(shares or self.shares, box.start, strict=True))
        return reduce(lambda grown, side: grown[..., None] * side, lines)

    def shares_on(self, device: torch.device) -> Shares:
        """`Tiling.shares` on a device."""
        return tuple({start: side.to(device) for start, side in by.items()} for by in self.shares)

    @cached_property
    def shares(self) -> Shares:
        """For each axis, the weights of a window's side by the window's start."""
        shares = []
        for length, patch, starts in zip(self.shape, self.patch, self.starts, strict=True):
            bell, mass = (
                axis_weights(patch, upper=self.upper).double(),
                torch.zeros(length, dtype=torch.float64),
            )
            for start in starts:
                mass[start : start + patch] += bell
            shares.append({s: (bell / mass[s : s + patch]).float() for s in starts})
        return tuple(shares)


def _starts(last: int, stride: float) -> tuple[int, ...]:
    """Evenly spaced whole numbers from 0 to the last, a stride apart at most."""
    gaps = ceil(last / stride)
    return tuple(round(i * last / gaps) for i in range(gaps + 1)) if gaps else (0,)


def axis_weights(length: int, *, sigma: float = 0.125, upper: bool = False) -> Tensor:
    """A Gaussian along one side of a window, (length,) float32, at most 1.

    Args:
        sigma: standard deviation, in sides of the window.
        upper: it peaks at voxel length // 2 rather than in the middle.
    """
    centre = length // 2 if upper else (length - 1) / 2
    from_centre = torch.arange(length, dtype=torch.float32) - centre
    return torch.exp(-(from_centre**2) / (2 * (sigma * length) ** 2))


def look(
    engines: Sequence[Engine],
    image: Tensor,
    windows: Iterable[Box],
    *,
    mirrors: Sequence[tuple[int, ...]] = ((),),
    batch: int = 1,
    margin: tuple[int, ...] = (),
) -> Iterator[Tile]:
    """What the engines say of each window of `image` (C, *S), as it is asked for.

    Args:
        engines: the networks of an ensemble, whose logits are averaged.
        mirrors: sets of axes of S to flip a window along before each look; the answers are flipped
            back and averaged.
        batch: windows given to an engine at once.
        margin: voxels around a window that an engine sees beside it, on each side of each axis; the
            image has as many more around it. None by default.

    Yields:
        The window and its logits, which an engine may write over after the next is asked for.
    """
    passes = [(engine, axes) for engine in engines for axes in mirrors]
    coming = iter(windows)
    while group := tuple(islice(coming, batch)):
        seen = torch.stack([image[_grown(window, margin).index] for window in group])
        logits = _answer(*passes[0], seen)
        if len(passes) > 1:
            logits = logits.clone()
            for engine, axes in passes[1:]:
                logits += _answer(engine, axes, seen)
            logits /= len(passes)
        yield from zip(group, logits, strict=True)
        del logits  # which may be large, before the next are computed


def _grown(window: Box, margin: tuple[int, ...]) -> Box:
    """A window and its margin, in an image that starts a margin earlier."""
    if not margin:
        return window
    axes = zip(window.stop, margin, strict=True)
    return Box(window.start, tuple(stop + 2 * around for stop, around in axes))


def _answer(engine: Engine, axes: tuple[int, ...], windows: Tensor) -> Tensor:
    """The engine's logits of windows (B, C, *S) that it sees flipped."""
    if not axes:
        return engine(windows)
    along = [2 + axis for axis in axes]
    return engine(windows.flip(along)).flip(along)
