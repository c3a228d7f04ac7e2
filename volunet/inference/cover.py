"""A whole prepared image through the network, a few rows at a time.

Steps five to seven of a volume's path: cut windows, let the engine look at them, blend what it
says. An image smaller than the patch is padded with 0 on both sides; the padding is cut off again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.errors import ModelError
from volunet.inference.engines.torch_engine import Engine
from volunet.inference.stitch import stitch_slabs
from volunet.inference.windows import gaussian, look, plan_windows
from volunet.space.box import Box


def cover(
    engine: Engine, image: NDArray[np.float32], patch: tuple[int, int, int], *, overlap: float
) -> Iterator[tuple[Box, Tensor]]:
    """Blended logits of an image, slab by slab along its first axis.

    Args:
        image: (C, I, J, K) as `Plan.prepare` gives it.

    Yields:
        The rows' box in (I, J, K), and logits (classes, rows, J, K) in float32.

    Raises:
        ModelError: the network answers with what is not a number.
    """
    shape = image.shape[1:]
    short = [max(p - n, 0) for n, p in zip(shape, patch, strict=True)]
    whole = tuple(n + s for n, s in zip(shape, short, strict=True))
    inner = tuple(slice(s // 2, s // 2 + n) for s, n in zip(short, shape, strict=True))
    padded = torch.zeros(image.shape[0], *whole)
    padded.numpy()[(slice(None), *inner)] = image
    tiles = look(engine, padded, plan_windows(whole, patch, overlap))
    first = inner[0].start
    for box, logits in stitch_slabs(tiles, whole, gaussian(patch)):
        start, stop = max(box.start[0] - first, 0), min(box.stop[0] - first, shape[0])
        if start < stop:
            if not torch.isfinite(logits).all():
                raise ModelError(
                    "The network's answer is not finite. Look for voxels that are not numbers in "
                    "the scan; if there are none, the model is damaged."
                )
            rows = logits[:, start + first - box.start[0] : stop + first - box.start[0]]
            yield Box((start, 0, 0), (stop, *shape[1:])), rows[:, :, inner[1], inner[2]]


def classify(
    engine: Engine, image: NDArray[np.float32], patch: tuple[int, int, int], *, overlap: float
) -> NDArray[Any]:
    """The most likely class of each voxel of a prepared image, (I, J, K) in the smallest type."""
    index: NDArray[Any] | None = None
    for box, logits in cover(engine, image, patch, overlap=overlap):
        if index is None:
            index = np.empty(image.shape[1:], dtype=np.min_scalar_type(logits.shape[0]))
        index[box.index] = logits.argmax(dim=0).cpu().numpy()
    assert index is not None, "a volume holds at least one window"
    return index
