"""Look a volume up on another grid: every change of space in volunet is this one function.

As a volume carries its grid, turning, respacing, cropping and padding an image are one look-up on
the grid that they lead to, and undoing them is a look-up on the grid it came from.

Images are interpolated linearly or by cubic convolution (Keys 1981, a = -1/2, which reproduces
polynomials of degree two); label maps by nearest neighbour, or by the label with the largest
linear share, which is smoother; neither makes values up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.space.grid import Grid
from volunet.space.interpolate import Beyond, Method, sample_axes, sample_points
from volunet.space.lookup import as_axes, index_map
from volunet.space.volume import Volume

LabelMethod = Literal["nearest", "share"]


def resample(
    volume: Volume,
    grid: Grid,
    *,
    method: Method = "linear",
    beyond: Beyond = "border",
    device: torch.device | str = "cpu",
    slab: int = 32,
) -> Volume:
    """The volume as seen on `grid`.

    Args:
        method: "linear" or "cubic" for images and logits, "nearest" for labels.
        beyond: what lies outside the volume, zeros or its nearest voxel.
        slab: rows of `grid` looked up at a time; memory grows with it, the result does not.

    Returns:
        float32 voxels for "linear" and "cubic", the volume's own type for "nearest".
    """
    kind = volume.voxels.dtype if method == "nearest" else np.dtype(np.float32)
    if volume.grid.matches(grid):
        return Volume(volume.voxels.astype(kind, copy=False), grid)
    voxels = np.empty((volume.channels, *grid.shape), dtype=kind)
    slabs = resample_slabs(volume, grid, method=method, beyond=beyond, device=device, slab=slab)
    for first, seen in slabs:
        voxels[:, first : first + seen.shape[1]] = seen.cpu().numpy()
    return Volume(voxels, grid)


def resample_slabs(
    volume: Volume,
    grid: Grid,
    *,
    method: Method = "linear",
    beyond: Beyond = "border",
    device: torch.device | str = "cpu",
    slab: int = 32,
) -> Iterator[tuple[int, Tensor]]:
    """The volume on `grid` a few rows at a time: the first row, and (C, rows, J, K) on `device`.

    The tensors are float32 (nearest: float64 for wide integers, so that no value changes).
    """
    source = _to_tensor(volume.voxels, method).to(device)
    across = index_map(volume.grid, grid)
    axes = as_axes(across)
    for first in range(0, grid.shape[0], slab):
        rows = (first, min(first + slab, grid.shape[0]))
        if axes is not None:
            yield first, sample_axes(source, axes, rows, grid.shape, method, beyond)
        else:
            yield first, sample_points(source, across, rows, grid.shape, method, beyond)


def resample_labels(
    labels: Volume, grid: Grid, *, method: LabelMethod = "share", slab: int = 32
) -> Volume:
    """A label map as seen on `grid`; it holds no value that `labels` does not hold.

    Args:
        labels: (1, I, J, K), whole numbers.
        method: "nearest", or "share": the value with the largest linear share of each voxel
            (ties go to the smaller value), one value at a time.

    Returns:
        (1, *grid.shape) in the labels' own type.
    """
    if method == "nearest" or labels.grid.matches(grid):
        return resample(labels, grid, method="nearest", slab=slab)
    across = index_map(labels.grid, grid)
    axes = as_axes(across)
    if axes is not None and axes.on_lattice:
        return resample(labels, grid, method="nearest", slab=slab)
    values = np.unique(labels.voxels)
    best = np.full((1, *grid.shape), -1, dtype=np.float32)
    seen = np.full((1, *grid.shape), values[0], dtype=labels.voxels.dtype)
    for value in values:
        mask = labels.with_voxels((labels.voxels == value).astype(np.float32))
        for first, share in resample_slabs(mask, grid, slab=slab):
            rows = slice(first, first + share.shape[1])
            wins = share.numpy() > best[:, rows] + 1e-6
            best[:, rows][wins] = share.numpy()[wins]
            seen[:, rows][wins] = value
    return Volume(seen, grid)


def _to_tensor(voxels: NDArray[Any], method: Method) -> Tensor:
    """The voxels in a type that interpolates them, or copies them, without loss."""
    wide = voxels.dtype.kind in "iu" and voxels.dtype.itemsize > 2
    kind = (
        np.float64 if method == "nearest" and (wide or voxels.dtype == np.float64) else np.float32
    )
    return torch.from_numpy(np.ascontiguousarray(voxels, dtype=kind))
