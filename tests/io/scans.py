"""Small scans for the tests of this room: any orientation, tilt and type."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from nibabel.affines import from_matvec
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from volunet.space.grid import Grid
from volunet.space.volume import Volume

AXES = [
    (order, signs)
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for signs in ((1, 1, 1), (-1, -1, 1), (1, -1, 1), (-1, 1, -1), (-1, -1, -1))
]


def affine_of(
    *,
    spacing: tuple[float, float, float] = (0.7, 0.8, 3.1),
    degrees: tuple[float, float, float] = (10, -20, 30),
    axes: tuple[tuple[int, ...], tuple[int, ...]] = AXES[0],
    origin: tuple[float, float, float] = (12.5, -80.25, 1033.3),
) -> NDArray[np.float64]:
    """An affine as a file stores it: float32 numbers."""
    order, signs = axes
    turn = np.eye(3)[:, list(order)] * signs
    tilt = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine = from_matvec(tilt @ turn * spacing, origin)
    return np.asarray(affine.astype(np.float32), dtype=np.float64)


def volume_of(dtype: Any = np.int16, *, channels: int = 1, **geometry: Any) -> Volume:
    """Values that differ from voxel to voxel where the type allows it."""
    shape = (channels, 5, 6, 7)
    ramp = np.arange(np.prod(shape)).reshape(shape)
    if np.dtype(dtype).kind == "b":
        ramp = ramp % 3 == 0
    elif np.dtype(dtype).kind == "u":
        ramp = ramp % 251
    else:
        ramp = ramp * 7 - 500
    return Volume(ramp.astype(dtype), Grid((5, 6, 7), affine_of(**geometry)))


geometries = st.fixed_dictionaries(
    {
        "spacing": st.tuples(*[st.floats(0.5, 4.5)] * 3),
        "degrees": st.tuples(*[st.floats(-45.0, 45.0)] * 3),
        "axes": st.sampled_from(AXES),
        "origin": st.tuples(*[st.floats(-2000.0, 2000.0)] * 3),
    }
)
