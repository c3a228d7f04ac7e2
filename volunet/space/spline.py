"""Resize an image on voxel edges, as nnU-Net does: cubic B-splines, without any affine.

The first and last edges of the voxels stay where they are, so voxel i of the result lies at
(i + 0.5) * n / m - 0.5 in an axis of n voxels that is brought to m; beyond the border lies its
nearest voxel. A cubic spline goes through every voxel, so each value of the result draws on the
whole axis, with weights that fade fourfold by the voxel: along one axis the resize is a product
with a banded matrix, taken a few rows at a time. Images are (I, J, K), float32.

Sources: splines and their prefilter, Unser et al. 1993 (10.1109/78.193220); the rules for edges,
clipping and thick slices are those of `skimage.transform.resize` and nnU-Net (Isensee et al. 2021).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d
from torch import Tensor

Order = Literal[1, 3]
FADED = 1e-8
"""Weights below this are taken for nothing; float32 would not see them."""
MARGIN = 12
"""Voxels of border that the prefilter sees; weights fade by 1e-7 over so many."""
ROWS = 64
"""Rows of a result that are made at a time."""


def edge_coordinates(source: int, target: int) -> NDArray[np.float64]:
    """Where each of `target` voxels lies among `source` voxels over the same edges, (target,)."""
    return np.asarray(float(source) / target * (np.arange(target) + 0.5) - 0.5)


def nearest_rows(source: int, target: int) -> NDArray[np.int64]:
    """The voxel of the source nearest to each voxel of the target, halves upwards, (target,)."""
    where = np.clip(edge_coordinates(source, target), 0, source - 1)
    return np.floor(where + 0.5).astype(np.int64)


def resize_edges(
    image: NDArray[np.float32],
    shape: tuple[int, int, int],
    *,
    order: Order = 3,
    nearest: int | None = None,
) -> NDArray[np.float32]:
    """The image (I, J, K) brought to `shape`, within the range of its values.

    Args:
        order: of the spline, 1 for linear.
        nearest: an axis of thick slices: each slice is resized by itself, within the range of its
            own values, and copied to the rows of the result that are nearest to it.
    """
    if image.shape == tuple(shape):
        return image
    seen = torch.from_numpy(np.ascontiguousarray(image).reshape(image.shape))
    if nearest is None:
        return _resize(seen, shape, order).clamp_(*seen.aminmax()).numpy()
    planes = seen.movedim(nearest, 0)
    rows = torch.from_numpy(nearest_rows(planes.shape[0], shape[nearest]))
    target = [n for axis, n in enumerate(shape) if axis != nearest]
    resized = torch.empty(planes.shape[0], *target)
    weights = [_weights(n, m, order) for n, m in zip(planes.shape[1:], target, strict=True)]
    for some, made in zip(torch.split(planes, ROWS), torch.split(resized, ROWS), strict=True):
        flat = some.flatten(1)
        low, high = (ends[:, None, None] for ends in (flat.amin(dim=1), flat.amax(dim=1)))
        made.copy_(_product(_product(some, 1, weights[0]), 2, weights[1]).clamp_(low, high))
    return np.ascontiguousarray(resized[rows].movedim(0, nearest).numpy())


def spline_matrix(source: int, target: int, order: Order) -> NDArray[np.float64]:
    """The weights (target, source) that resize an axis; each row sums to 1."""
    where = edge_coordinates(source, target)
    low = np.floor(where).astype(np.int64)
    share = where - low
    rows = np.arange(target)
    weights = np.zeros((target, source + 2 * MARGIN))
    parts = _cubic(share) if order == 3 else [np.zeros_like(share), 1 - share, share]
    for offset, part in enumerate(parts, start=-1):
        weights[rows, low + offset + MARGIN] += part
    bordered = np.pad(np.eye(source), ((MARGIN, MARGIN), (0, 0)), mode="edge")
    if order == 3:
        bordered = spline_filter1d(bordered, order=3, axis=0, mode="mirror")
    return np.asarray(weights @ bordered)


def _cubic(t: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The cubic B-spline at 1 + t, t, 1 - t and 2 - t, for t in [0, 1)."""
    return [
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    ]


def _weights(source: int, target: int, order: Order) -> NDArray[np.float64] | None:
    """The weights that resize an axis; None where it stays as it is."""
    return None if source == target else spline_matrix(source, target, order)


def _resize(image: Tensor, shape: tuple[int, ...], order: Order) -> Tensor:
    """Each axis in turn, those that shrink most first."""
    for axis in sorted(range(3), key=lambda a: shape[a] / image.shape[a]):
        image = _product(image, axis, _weights(image.shape[axis], shape[axis], order))
    return image


def _product(image: Tensor, axis: int, weights: NDArray[np.float64] | None) -> Tensor:
    """The product of a banded matrix (target, source) with one axis of the image."""
    if weights is None:
        return image
    size = list(image.shape)
    size[axis] = len(weights)
    made = torch.empty(size)
    for first in range(0, len(weights), ROWS):
        some = weights[first : first + ROWS]
        (used,) = np.nonzero((np.abs(some) > FADED).any(axis=0))
        start, count = int(used[0]), int(used[-1] - used[0] + 1)
        band = torch.from_numpy(some[:, start : start + count].astype(np.float32))
        rows = image.narrow(axis, start, count)
        made.narrow(axis, first, len(some)).copy_(_along(band, rows, axis))
    return made


def _along(band: Tensor, rows: Tensor, axis: int) -> Tensor:
    if axis == 0:
        return (band @ rows.reshape(len(rows), -1)).reshape(len(band), *rows.shape[1:])
    return band @ rows if axis == 1 else rows @ band.T
