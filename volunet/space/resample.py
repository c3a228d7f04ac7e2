"""Look a volume up on another grid: every change of space in volunet is this one function.

As a volume carries its grid, turning, respacing, cropping and padding an image are one look-up on
the grid that they lead to, and undoing them is a look-up on the grid it came from.

Images are interpolated linearly or by cubic convolution (Keys 1981, a = -1/2, which reproduces
polynomials of degree two); label maps by nearest neighbour, or by the label with the largest
linear share (`volunet.space.vote`), which is smoother; neither makes values up.
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
from volunet.space.vote import vote

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

    The tensors are float32; for "nearest", of a type that holds every value as it is.
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


def _to_tensor(voxels: NDArray[Any], method: Method) -> Tensor:
    """The voxels in a type that torch interpolates, or in one that it copies without loss."""
    kind: np.dtype[Any] = np.dtype(np.float32)
    if method == "nearest":
        kind = voxels.dtype.newbyteorder("=")
        if kind.kind == "b":
            kind = np.dtype(np.uint8)
        elif kind.kind == "u" and kind.itemsize > 1:  # torch computes with one unsigned type only
            kind = np.dtype(f"i{min(2 * kind.itemsize, 8)}")
    # An axis of one voxel may run backwards in an array that numpy calls contiguous: ravel it.
    flat = np.ascontiguousarray(voxels, dtype=kind).ravel()
    return torch.from_numpy(flat.reshape(voxels.shape))
