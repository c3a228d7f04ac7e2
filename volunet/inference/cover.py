"""A whole prepared image through the network, a few rows at a time.

Steps five to seven of a volume's path: cut windows, let the engines look at them, blend what they
say. An image smaller than the patch is padded with 0 on both sides; the padding is cut off again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.errors import ModelError
from volunet.inference.effort import Effort, Wanted
from volunet.inference.engines.engine import Engine
from volunet.inference.rule import LAST_POSITIVE, MOST_LIKELY, Rule
from volunet.inference.stitch import Slab, stitch_slabs
from volunet.inference.windows import Tiling, look
from volunet.models.sizes import Sizes
from volunet.space.box import Box


@dataclass(frozen=True)
class Frame:
    """Where windows stand on an image, which is padded where it is smaller than one.

    Args:
        shape: of the image.
        tiling: of the padded image.
        low: where the image starts in that.
    """

    shape: tuple[int, ...]
    tiling: Tiling
    low: tuple[int, ...]

    @classmethod
    def around(
        cls,
        shape: tuple[int, ...],
        patch: tuple[int, ...],
        overlap: float,
        *,
        nnunet: bool = False,
        step: tuple[int, ...] = (),
    ) -> Frame:
        """The frame of an image and windows of a size."""
        padded = tuple(map(max, shape, patch))
        if step:
            axes = zip(padded, patch, step, strict=True)
            padded = tuple(p + -(-(n - p) // by) * by for n, p, by in axes)
        low = tuple(max(p - n, 0) // 2 for n, p in zip(shape, patch, strict=True))
        tiling = Tiling.regular(padded, patch, overlap, nnunet=nnunet, step=step)
        return cls(shape, tiling, low)

    def windows(self, region: Box, wanted: Wanted | None = None) -> list[Box]:
        """The windows of the padded image that touch a region of the image and are wanted."""
        inner = region.moved(self.low)
        touching = [box for box in self.tiling.boxes() if _meet(box, inner)]
        return [box for box in touching if wanted is None or wanted(self.inside(box))]

    def inside(self, box: Box) -> Box:
        """A window of the padded image as the part of the image that it shows."""
        return Box(
            tuple(max(a - s, 0) for a, s in zip(box.start, self.low, strict=True)),
            tuple(min(b - s, n) for b, s, n in zip(box.stop, self.low, self.shape, strict=True)),
        )


def cover(  # noqa: PLR0913 - what a plan says of windows, and what is wanted of them
    engines: Sequence[Engine],
    image: NDArray[np.float32],
    patch: tuple[int, int, int],
    effort: Effort,
    *,
    region: Box | None = None,
    wanted: Wanted | None = None,
    nnunet: bool = False,
    unpadded: Sizes | None = None,
) -> Iterator[Slab]:
    """Blended logits of an image, slab by slab along its first axis.

    Args:
        engines: the networks of an ensemble, one at least.
        image: (C, I, J, K) as `Plan.prepare` gives it.
        region: the part of the image whose logits are asked for; all of it by default.
        wanted: asked of each window, cut to the image; those it declines are left out, and logits
            that no window tells of are 0. It wants one at least.
        nnunet: windows and their weights are nnU-Net's, as in `Tiling.regular`.
        unpadded: sizes of networks that answer a margin less than they see: windows stand steps
            apart, and beyond the image its mirror image is seen (the overlap-tile strategy of
            Ronneberger et al. 2015).

    Yields:
        The rows' box in (I, J, K), and logits (classes, rows, J, K) in the accumulator's type, to
        be used before the next are asked for.

    Raises:
        ModelError: a network answers with what is not a number.
    """
    step, margin = ((), ()) if unpadded is None else (unpadded.step, unpadded.margin)
    frame = Frame.around(image.shape[1:], patch, effort.overlap, nnunet=nnunet, step=step)
    region = region or Box.whole(frame.shape)
    inner = region.moved(frame.low)
    windows = frame.windows(region, wanted)
    padded = _mirrored(image, frame, margin) if margin else _padded(image, frame)
    tiles = look(
        engines,
        padded,
        windows,
        mirrors=effort.mirrors,
        batch=effort.batch,
        margin=margin,
    )
    back = tuple(-start for start in frame.low)
    for box, logits in stitch_slabs(tiles, frame.tiling, region=inner, dtype=effort.accumulator):
        told = [number for row in logits.unbind(1) for number in _telling(row)]
        if not torch.isfinite(torch.stack(told)).all():
            raise ModelError(
                "The network's answer is not finite. Look for voxels that are not numbers in the "
                "scan; if there are none, the model is damaged."
            )
        yield box.moved(back), logits


def _telling(row: Tensor) -> tuple[Tensor, ...]:
    """Numbers that are finite where all of a row's are, found without a copy of it.

    The sum of two bytes would be one of a copy in float32, and such copies, with small numbers kept
    between them, leave holes in the heap that added up to twice the ring's memory.
    """
    return (row.sum(),) if row.dtype == torch.float32 else (row.amin(), row.amax())


def classify(
    engines: Sequence[Engine],
    image: NDArray[np.float32],
    patch: tuple[int, int, int],
    effort: Effort,
    *,
    regions: tuple[int, ...] = (),
    wanted: Wanted | None = None,
    unpadded: Sizes | None = None,
) -> NDArray[Any]:
    """The class of each voxel of a prepared image, (I, J, K) in the smallest type.

    Args:
        regions: as in `WayBack`.
        wanted: as in `cover`.
        unpadded: as in `cover`.
    """
    rule: Rule = LAST_POSITIVE if regions else MOST_LIKELY
    index: NDArray[Any] | None = None
    for box, logits in cover(engines, image, patch, effort, wanted=wanted, unpadded=unpadded):
        if index is None:
            kind = np.min_scalar_type(rule.most(len(logits)))
            index = np.empty(image.shape[1:], dtype=kind)
        index[box.index] = rule.of_map(logits).cpu().numpy()
    assert index is not None, "a volume holds at least one window"
    return np.array((0, *regions), dtype=index.dtype)[index] if regions else index


def _padded(image: NDArray[np.float32], frame: Frame) -> Tensor:
    """The image, with 0 around it where it is smaller than the patch."""
    if frame.tiling.shape == frame.shape:
        turned = any(step < 0 for step in image.strides)  # else a part of a scan is not copied
        return torch.from_numpy(np.require(image, requirements=("C", "W") if turned else "W"))
    padded = torch.zeros(image.shape[0], *frame.tiling.shape)
    padded.numpy()[Box.whole(frame.shape).moved(frame.low).index] = image
    return padded


def _mirrored(image: NDArray[np.float32], frame: Frame, margin: tuple[int, ...]) -> Tensor:
    """The image, mirrored around itself up to the size of the patch and by a margin."""
    sides = [
        (low + around, padded - low - n + around)
        for low, padded, n, around in zip(
            frame.low, frame.tiling.shape, frame.shape, margin, strict=True
        )
    ]
    return torch.from_numpy(np.pad(image, [(0, 0), *sides], mode="reflect"))


def _meet(one: Box, other: Box) -> bool:
    return all(
        a < d and c < b
        for a, b, c, d in zip(one.start, one.stop, other.start, other.stop, strict=True)
    )
