"""What the property tests draw from."""

from __future__ import annotations

from itertools import permutations, product
from math import prod

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from volunet.space.grid import Grid
from volunet.space.volume import Volume

ORIENTATIONS = tuple(
    "".join(side) for axes in permutations(("RL", "AP", "SI")) for side in product(*axes)
)
"""All 48 ways in which the axes of a file can run."""

orientations = st.sampled_from(ORIENTATIONS)

finer_factors = st.tuples(*[st.integers(1, 4)] * 3)
"""How many voxels of a target lie along one of its image's, along R, A and S."""


def tilted(degrees: tuple[float, float, float] = (20.0, -35.0, 50.0)) -> np.ndarray:
    """A rotation about all three axes, (3, 3)."""
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


@st.composite
def grids(draw, side: int = 6, spacing: tuple[float, float] = (1e-3, 10.0)) -> Grid:
    """A small grid, anywhere in the patient, tilted at will, from micrometres to centimetres."""
    shape = draw(st.tuples(*[st.integers(1, side)] * 3))
    steps = draw(st.tuples(*[st.floats(*spacing)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=draw(st.integers(0, 999))).as_matrix() * steps
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return Grid(shape, affine)


@st.composite
def straight_grids(draw, side: int = 8) -> Grid:
    """A grid whose axes run along the patient's, in any order and direction."""
    shape = draw(st.tuples(*[st.integers(1, side)] * 3))
    steps = draw(st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.3, 2.5, 5.0])] * 3))
    shift = draw(st.tuples(*[st.floats(-50, 50)] * 3))
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = shift
    return Grid(shape, affine).reoriented(draw(orientations))


@st.composite
def volumes(draw, channels: int = 2) -> Volume:
    """A small volume on any grid; every voxel has a value of its own."""
    grid = draw(grids())
    return Volume(np.arange(channels * prod(grid.shape)).reshape(channels, *grid.shape), grid)


@st.composite
def label_maps(draw, values: tuple[int, ...] = (0, 1, 3, 205)) -> Volume:
    """A label map on a straight or a tilted grid, in blocks as organs are, or in noise."""
    grid = draw(st.one_of(straight_grids(), grids(side=8, spacing=(0.5, 5.0))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks = rng.choice(np.array(values), size=tuple(-(-n // 3) for n in grid.shape))
    voxels = blocks.repeat(3, 0).repeat(3, 1).repeat(3, 2)[tuple(map(slice, grid.shape))]
    noisy = rng.random(grid.shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    voxels = np.where(noisy, rng.choice(np.array(values), size=grid.shape), voxels)
    return Volume(voxels[None].astype(np.uint8 if max(values) < 256 else np.int64), grid)


@st.composite
def tilings(draw, dims: int = 3) -> tuple[tuple[int, ...], tuple[int, ...], float]:
    """An image shape, a patch that fits it, and an overlap."""
    shape = draw(st.tuples(*[st.integers(1, 12)] * dims))
    patch = tuple(draw(st.integers((n + 3) // 4, n)) for n in shape)
    return shape, patch, draw(st.sampled_from([0.0, 0.25, 0.5, 0.9]))
