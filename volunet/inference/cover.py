"""A whole prepared image through the network, a few rows at a time.

Steps five to seven of a volume's path: cut windows, let the engines look at them, blend what they
say. An image smaller than the patch is padded with 0 on both sides; the padding is cut off again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.errors import ModelError
from volunet.inference.effort import Effort, Wanted
from volunet.inference.engines.engine import Engine
from volunet.inference.rule import most_likely
from volunet.inference.stitch import Slab, stitch_slabs
from volunet.inference.windows import Tiling, look
from volunet.space.box import Box


def cover(
    engines: Sequence[Engine],
    image: NDArray[np.float32],
    patch: tuple[int, int, int],
    effort: Effort,
    *,
    region: Box | None = None,
    wanted: Wanted | None = None,
) -> Iterator[Slab]:
    """Blended logits of an image, slab by slab along its first axis.

    Args:
        engines: the networks of an ensemble, one at least.
        image: (C, I, J, K) as `Plan.prepare` gives it.
        region: the part of the image whose logits are asked for; all of it by default.
        wanted: asked of each window, cut to the image; those it declines are left out, and logits
            that no window tells of are 0. One window is looked at in any case.

    Yields:
        The rows' box in (I, J, K), and logits (classes, rows, J, K) in the accumulator's type, to
        be used before the next are asked for.

    Raises:
        ModelError: a network answers with what is not a number.
    """
    shape = image.shape[1:]
    padded, low = _padded(image, patch)
    region = region or Box.whole(shape)
    inner = _moved(region, low)
    tiling = Tiling.regular(tuple(padded.shape[1:]), patch, effort.overlap)
    touching = [box for box in tiling.boxes() if _meet(box, inner)]
    windows = [box for box in touching if wanted is None or wanted(_inside(box, low, shape))]
    tiles = look(
        engines, padded, windows or touching[:1], mirrors=effort.mirrors, batch=effort.batch
    )
    back = tuple(-start for start in low)
    for box, logits in stitch_slabs(tiles, tiling, region=inner, dtype=effort.accumulator):
        if not torch.isfinite(logits.sum(dtype=torch.float32)):
            raise ModelError(
                "The network's answer is not finite. Look for voxels that are not numbers in the "
                "scan; if there are none, the model is damaged."
            )
        yield _moved(box, back), logits


def classify(
    engines: Sequence[Engine],
    image: NDArray[np.float32],
    patch: tuple[int, int, int],
    effort: Effort,
) -> NDArray[Any]:
    """The most likely class of each voxel of a prepared image, (I, J, K) in the smallest type."""
    index: NDArray[Any] | None = None
    for box, logits in cover(engines, image, patch, effort):
        if index is None:
            index = np.empty(image.shape[1:], dtype=np.min_scalar_type(len(logits) - 1))
        index[box.index] = most_likely(logits).cpu().numpy()
    assert index is not None, "a volume holds at least one window"
    return index


def _padded(
    image: NDArray[np.float32], patch: tuple[int, ...]
) -> tuple[Tensor, tuple[int, int, int]]:
    """The image, padded where it is smaller than the patch, and where it starts in that."""
    short = [max(p - n, 0) for n, p in zip(image.shape[1:], patch, strict=True)]
    low = (short[0] // 2, short[1] // 2, short[2] // 2)
    if not any(short):
        return torch.from_numpy(np.ascontiguousarray(image)), low
    whole = (n + s for n, s in zip(image.shape[1:], short, strict=True))
    padded = torch.zeros(image.shape[0], *whole)
    padded.numpy()[_moved(Box.whole(image.shape[1:]), low).index] = image
    return padded, low


def _moved(box: Box, by: tuple[int, ...]) -> Box:
    return Box(
        tuple(a + b for a, b in zip(box.start, by, strict=True)),
        tuple(a + b for a, b in zip(box.stop, by, strict=True)),
    )


def _meet(one: Box, other: Box) -> bool:
    return all(
        a < d and c < b
        for a, b, c, d in zip(one.start, one.stop, other.start, other.stop, strict=True)
    )


def _inside(box: Box, low: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """A window of the padded image as the part of the image that it shows."""
    return Box(
        tuple(max(a - s, 0) for a, s in zip(box.start, low, strict=True)),
        tuple(min(b - s, n) for b, s, n in zip(box.stop, low, shape, strict=True)),
    )
