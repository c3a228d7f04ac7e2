"""Look a volume up on another grid: every change of space in volunet is this one function.

As a volume carries its grid, turning, respacing, cropping and padding an image are one look-up on
the grid that they lead to, and undoing them is a look-up on the grid it came from.

Images are interpolated linearly or by cubic convolution (Keys 1981, a = -1/2, which reproduces
polynomials of degree two); label maps by nearest neighbour, or by the label with the largest
linear share (`volunet.space.vote`), which is smoother; neither makes values up.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.space.grid import Grid
from volunet.space.interpolate import Beyond, Method, sample_axes, sample_points
from volunet.space.lookup import as_axes, index_map
from volunet.space.volume import Volume
from volunet.space.vote import vote

LabelMethod = Literal["nearest", "share"]
MOST = 1 << 20
"""Voxels looked up at a time, however large a row is."""
TILE = 32


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
        slab: rows of `grid` looked up at a time, at most; the result does not depend on it. Beside
            the result, a slab of each volume is held, of a tilted one a copy in its own type.

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

    The tensors are float32; for "nearest", of a type that holds every value as it is.
    """
    across = index_map(volume.grid, grid)
    axes = as_axes(across)
    kind = _held_type(volume.voxels.dtype, method)
    if axes is None:
        whole = _to_tensor(volume.voxels, kind).to(device)
    else:
        turned = np.transpose(volume.voxels, (0, *(1 + axis for axis in axes.order)))
        kind = kind if method == "nearest" else np.dtype(np.float32)

    def fetch(start: int, stop: int) -> Tensor:
        return _to_tensor(turned[:, start:stop], kind).to(device)

    slab = max(1, min(slab, MOST // prod(grid.shape[1:])))
    for first in range(0, grid.shape[0], slab):
        rows = (first, min(first + slab, grid.shape[0]))
        if axes is None:
            yield first, sample_points(whole, across, rows, grid.shape, method, beyond)
        else:
            lengths = turned.shape[1:]
            yield first, sample_axes(fetch, lengths, axes, rows, grid.shape, method, beyond)


def resample_labels(
    labels: Volume, grid: Grid, *, method: LabelMethod = "share", slab: int = 32
) -> Volume:
    """A label map as seen on `grid`; it holds no value that `labels` does not hold.

    Args:
        labels: (1, I, J, K), whole numbers.
        method: "nearest", or "share": the value with the largest linear share of each voxel
            (ties go to the smaller value).
        slab: rows of `grid` looked up at a time; memory grows with it, the result does not.

    Returns:
        (1, *grid.shape) in the labels' own type.
    """
    across = index_map(labels.grid, grid)
    axes = as_axes(across)
    on_lattice = axes is not None and axes.on_lattice
    if method == "nearest" or on_lattice or labels.grid.matches(grid):
        return resample(labels, grid, method="nearest", slab=slab)
    return Volume(vote(labels.voxels[0], across, grid.shape, slab)[None], grid)


def _held_type(stored: np.dtype[Any], method: Method) -> np.dtype[Any]:
    """The smallest type of torch's that holds the stored values, as far as they are needed."""
    kind = stored.newbyteorder("=")
    if kind.kind == "b":
        return np.dtype(np.uint8)
    if kind.kind == "u" and kind.itemsize > 1:  # torch computes with one unsigned type only
        return np.dtype(f"i{min(2 * kind.itemsize, 8)}")
    return np.dtype(np.float32) if kind.kind == "f" and method != "nearest" else kind


def _to_tensor(voxels: NDArray[Any], kind: np.dtype[Any]) -> Tensor:
    """A copy in the order of the axes, made in tiles, which processors read faster."""
    copy = np.empty(voxels.shape, dtype=kind)
    for k in range(0, voxels.shape[-1], TILE):
        copy[..., k : k + TILE] = voxels[..., k : k + TILE]
    return torch.from_numpy(copy)
