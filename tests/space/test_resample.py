"""Looking a volume up on another grid agrees with scipy and MONAI, and is exact where it can be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch
from scipy.ndimage import affine_transform

from tests.strategies import grids, orientations, straight_grids, tilted, volumes
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.lookup import as_axes, index_map
from volunet.space.resample import resample, resample_slabs
from volunet.space.volume import Volume

METHODS = ("nearest", "linear", "cubic")


def scan(kind: str = "f4", shape: tuple[int, int, int] = (14, 17, 10)) -> Volume:
    """Noise on a sheared, anisotropic grid."""
    affine = np.array(
        [[1.1, -0.2, 0.1, 5], [0.2, 0.9, 0.3, -7], [-0.1, 0.2, 3.0, 40], [0, 0, 0, 1]]
    )
    voxels = np.random.default_rng(0).standard_normal((2, *shape)) * 100
    return Volume(voxels.astype(kind), Grid(shape, affine))


def goals() -> dict[str, Grid]:
    grid = scan().grid
    turned = np.array(grid.affine)
    turned[:3, :3] = tilted((5.0, -12.0, 30.0)) @ np.diag([1.4, 1.1, 2.0])
    in_plane = np.array(grid.affine)
    in_plane[:3, :2] = in_plane[:3, :2] @ [[0.8, -0.6], [0.6, 0.8]]
    return {
        "finer": grid.reoriented("LPS").respaced((0.7, 0.8, 1.5)).at_least((30, 10, 10)),
        "coarser": grid.reoriented("SRA").respaced((4.0, 2.5, 1.7)),
        "tilted": Grid((13, 15, 11), turned),
        "turned in its plane": Grid((13, 15, 11), in_plane),
    }


GOALS = goals()


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("beyond", "mode"), [("border", "nearest"), ("zeros", "grid-constant")])
def test_linear_agrees_with_scipy(goal, beyond, mode):
    volume, grid = scan(), GOALS[goal]
    across = np.linalg.inv(volume.grid.affine) @ grid.affine
    expected = [
        affine_transform(c, across[:3, :3], across[:3, 3], grid.shape, order=1, mode=mode)
        for c in volume.voxels
    ]
    seen = resample(volume, grid, beyond=beyond)
    assert (seen.grid, seen.voxels.dtype) == (grid, np.float32)
    np.testing.assert_allclose(seen.voxels, expected, atol=2e-3)


@pytest.mark.parametrize("goal", GOALS)
def test_nearest_agrees_with_scipy(goal):
    volume, grid = scan("i2"), GOALS[goal]
    across = index_map(volume.grid, grid)
    expected = [
        affine_transform(c, across[:3, :3], across[:3, 3], grid.shape, order=0, mode="nearest")
        for c in volume.voxels
    ]
    seen = resample(volume, grid, method="nearest").voxels
    assert (seen != expected).mean() < 1e-3  # only where two voxels are equally near


def test_linear_agrees_with_monai():
    volume, grid = scan(), GOALS["tilted"]
    image = MetaTensor(torch.from_numpy(volume.voxels), affine=volume.grid.affine.copy())
    goal = MetaTensor(torch.zeros(1, *grid.shape), affine=grid.affine.copy())
    match = ResampleToMatch(padding_mode="border", align_corners=True, dtype=torch.float64)
    theirs = match(image, goal).numpy()
    np.testing.assert_allclose(resample(volume, grid).voxels, theirs, atol=2e-3)


def keys(x: float) -> float:
    """Keys' kernel as it stands in his paper (1981, eq. 4 with a = -1/2)."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def look_up_by_hand(voxels: np.ndarray, point: np.ndarray, beyond: str) -> float:
    """The cubic look-up of one point, over the 64 voxels around it."""
    total, base = 0.0, np.floor(point).astype(int)
    for offset in product((-1, 0, 1, 2), repeat=3):
        at = base + offset
        kept = np.clip(at, 0, np.array(voxels.shape) - 1)
        if beyond == "border" or (at == kept).all():
            total += voxels[tuple(kept)] * np.prod(
                [keys(p - i) for p, i in zip(point, at, strict=True)]
            )
    return float(total)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("beyond", ["border", "zeros"])
def test_cubic_agrees_with_keys_kernel_point_by_point(goal, beyond):
    volume, grid = scan(), GOALS[goal]
    seen = resample(volume, grid, method="cubic", beyond=beyond).voxels[0]
    rng = np.random.default_rng(1)
    for index in zip(*(rng.integers(0, n, 40) for n in grid.shape), strict=True):
        point = volume.grid.to_index(grid.to_world(index))
        by_hand = look_up_by_hand(volume.voxels[0], point, beyond)
        assert seen[index] == pytest.approx(by_hand, abs=2e-2)


@pytest.mark.parametrize("goal", ["finer", "tilted"])
def test_cubic_reproduces_quadratics_in_the_interior(goal):
    def quadratic(at: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(at, -1, 0)
        return 3 + x - 2 * y + 0.5 * z + 0.1 * x * x - 0.2 * y * y + 0.3 * z * z + 0.2 * x * y * z

    volume, grid = scan(), GOALS[goal]
    voxels = quadratic(np.moveaxis(np.indices(volume.grid.shape), 0, -1))
    seen = resample(volume.with_voxels(voxels[None]), grid, method="cubic").voxels[0]
    at = volume.grid.to_index(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)))
    interior = ((at >= 1) & (at <= np.array(volume.grid.shape) - 2)).all(axis=-1)
    assert interior.sum() > 100
    np.testing.assert_allclose(seen[interior], quadratic(at[interior]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("method", METHODS)
def test_the_slab_does_not_matter(goal, method):
    thin, thick = (resample(scan(), GOALS[goal], method=method, slab=n).voxels for n in (3, 100))
    np.testing.assert_array_equal(thin, thick)


def test_slabs_follow_one_another_and_are_the_whole():
    volume, grid = scan(), GOALS["finer"]
    slabs = list(resample_slabs(volume, grid, slab=7))
    assert [first for first, _ in slabs] == list(range(0, grid.shape[0], 7))
    joined = torch.cat([seen for _, seen in slabs], dim=1).numpy()
    np.testing.assert_array_equal(joined, resample(volume, grid).voxels)


@given(volumes(), orientations, st.sampled_from(METHODS), st.data())
def test_what_falls_on_voxels_is_exact(volume, orientation, method, data):
    volume = volume.with_voxels(np.sqrt(volume.voxels).astype(np.float32))
    turned = volume.reoriented(orientation)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in turned.grid.shape)
    part = turned.crop(Box(start, turned.grid.shape))
    np.testing.assert_array_equal(resample(volume, part.grid, method=method).voxels, part.voxels)


@given(volumes(), orientations, st.sampled_from(METHODS))
def test_growing_pads_with_zeros_and_cropping_undoes_it(volume, orientation, method):
    volume = volume.with_voxels((volume.voxels + 1).astype(np.float32))
    grid = volume.grid.reoriented(orientation).at_least((8, 8, 8))
    padded = resample(volume, grid, method=method, beyond="zeros")
    assert np.count_nonzero(padded.voxels) == volume.voxels.size
    back = resample(padded, volume.grid, method=method)
    np.testing.assert_array_equal(back.voxels, volume.voxels)


@given(volumes(), st.sampled_from(METHODS))
def test_its_own_grid_gives_a_volume_back_bit_for_bit(volume, method):
    seen = resample(volume, volume.grid, method=method)
    np.testing.assert_array_equal(seen.voxels, volume.voxels)


@given(st.one_of(grids(side=8, spacing=(0.5, 5.0)), straight_grids()), straight_grids())
def test_a_constant_stays_constant_whatever_the_grids(source, target):
    volume = Volume(np.full((1, *source.shape), 205.0, dtype="f4"), source)
    for method in METHODS:
        np.testing.assert_allclose(resample(volume, target, method=method).voxels, 205, rtol=1e-5)


@given(straight_grids(), straight_grids())
def test_both_paths_of_the_look_up_agree_on_whole_axes(source, target):
    rng = np.random.default_rng(0)
    volume = Volume(rng.standard_normal((1, *source.shape)).astype("f4"), source)
    slant = np.array(target.affine)
    slant[:3, :3] = tilted((0.01, 0.01, 0.01)) @ slant[:3, :3]
    slightly = Grid(target.shape, slant)
    assert as_axes(index_map(source, target)) is not None
    assert as_axes(index_map(source, slightly)) is None
    straight = resample(volume, target).voxels
    np.testing.assert_allclose(resample(volume, slightly).voxels, straight, atol=0.2)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("u1", (0, 255)),
        ("u2", (0, 65535)),
        ("u4", (1, 2**32 - 1)),
        ("i8", (-(2**62) - 1, 2**53 + 1)),
        ("u8", (0, 2**64 - 1)),
        (">i2", (-3, 300)),
        ("f8", (0.1, 1e300)),
        ("?", (False, True)),
    ],
)
@pytest.mark.parametrize("goal", ["finer", "tilted"])
def test_nearest_keeps_the_type_and_every_value(kind, values, goal):
    shape = scan().grid.shape
    voxels = np.random.default_rng(0).choice(np.array(values, dtype=kind), (1, *shape))
    seen = resample(Volume(voxels.astype(kind), scan().grid), GOALS[goal], method="nearest").voxels
    assert seen.dtype == np.dtype(kind)
    assert set(np.unique(seen).tolist()) == set(np.array(values, dtype=kind).tolist())


@pytest.mark.parametrize("method", METHODS)
def test_far_outside_there_is_the_border_or_nothing(method):
    volume = Volume(np.arange(1.0, 9.0).reshape(1, 2, 2, 2), Grid((2, 2, 2), np.eye(4)))
    away = np.eye(4)
    away[:3, 3] = 50.0
    for affine in (away, away @ np.block([[tilted(), np.zeros((3, 1))], [np.zeros(3), 1]])):
        grid = Grid((2, 3, 4), affine)
        assert (resample(volume, grid, method=method, beyond="zeros").voxels == 0).all()
    seen = resample(volume, Grid((2, 3, 4), away), method=method).voxels
    np.testing.assert_allclose(seen, 8, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("orientation", ["RAS", "RAI", "LPI", "IRP"])
def test_a_single_slice_may_run_backwards(method, orientation):
    voxels = np.random.default_rng(0).standard_normal((1, 8, 9, 1)).astype(np.float32)
    turned = Volume(voxels, Grid((8, 9, 1), np.eye(4))).reoriented(orientation)
    grid = Grid((4, 4, 1), np.diag([2.0, 2.0, 1.0, 1.0]))
    expected = resample(Volume(voxels, Grid((8, 9, 1), np.eye(4))), grid, method=method).voxels
    np.testing.assert_allclose(resample(turned, grid, method=method).voxels, expected, atol=1e-6)
