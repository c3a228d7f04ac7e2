"""Labels on the scan's own grid are those of a dense look-up, however the grids lie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from volunet.errors import ShapeError
from volunet.inference import native
from volunet.inference.native import label_native
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.lookup import index_map


def in_slabs(logits: np.ndarray, cuts: list[int]):
    """The map (classes, I, J, K) cut along axis 0 at each of `cuts`."""
    _, rows, *rest = logits.shape
    edges = sorted({0, rows, *(c for c in cuts if 0 < c < rows)})
    for start, stop in pairwise(edges):
        box = Box((start, 0, 0), (stop, *rest))
        yield box, torch.from_numpy(np.ascontiguousarray(logits[:, start:stop]))


def dense(logits: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Logits on the target grid as scipy sees them, (classes, *target.shape)."""
    index = np.indices(target.shape).reshape(3, -1)
    across = index_map(source, target)
    where = across[:3, :3] @ index + across[:3, 3:]
    seen = [map_coordinates(c.astype("f8"), where, order=1, mode="nearest") for c in logits]
    return np.stack(seen).reshape(-1, *target.shape)


def assert_most_likely(labels: np.ndarray, scores: np.ndarray) -> None:
    """Each label has the highest score, but for ties within float32 rounding."""
    chosen = np.take_along_axis(scores, labels[None].astype(int), 0)[0]
    assert (chosen >= scores.max(0) - 1e-5).all()


def drawn_logits(shape, classes: int, seed: int, smooth: bool) -> np.ndarray:
    """Noise, or large blobs of each class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(classes, *shape)).astype("f4")
    if smooth:
        axes = np.indices(shape) / 4
        phases = rng.uniform(0, 6, (classes, 3))
        logits = np.stack(
            [sum(np.sin(a + p) for a, p in zip(axes, q, strict=True)) for q in phases]
        )
    return logits.astype("f4")


grids = st.tuples(*[st.integers(1, 9)] * 3)
spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 1.3, 3.0])] * 3)
offsets = st.tuples(*[st.floats(-3, 3)] * 3)
cuts = st.lists(st.integers(1, 8), max_size=4)


@given(grids, grids, spacings, offsets, cuts, st.integers(1, 5), st.integers(0, 999), st.booleans())
def test_tilted_scans_agree_with_scipy(shape, native_shape, mm, shift, cuts, classes, seed, smooth):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() * mm
    affine[:3, 3] = shift
    plan_grid, scan_grid = Grid(shape, np.eye(4)), Grid(native_shape, affine)
    logits = drawn_logits(shape, classes, seed, smooth)
    labels = label_native(in_slabs(logits, cuts), plan_grid, scan_grid)
    assert labels.shape == native_shape
    assert_most_likely(labels, dense(logits, plan_grid, scan_grid))


@given(
    grids,
    grids,
    spacings,
    offsets,
    cuts,
    st.sampled_from(["RAS", "LPI", "SAR", "ILP", "ASR", "PIR"]),
    st.integers(0, 999),
    st.booleans(),
)
def test_turned_and_anisotropic_scans_agree_with_scipy(
    shape, native_shape, mm, shift, cuts, turn, seed, smooth
):
    affine = np.diag([*mm, 1.0])
    affine[:3, 3] = shift
    scan_grid = Grid(native_shape, affine).reoriented(turn)
    plan_grid = Grid(shape, np.eye(4))
    logits = drawn_logits(shape, 3, seed, smooth)
    labels = label_native(in_slabs(logits, cuts), plan_grid, scan_grid)
    assert_most_likely(labels, dense(logits, plan_grid, scan_grid))


@given(grids, cuts, st.sampled_from(["RAS", "LPI", "SAR", "ILP"]), st.integers(0, 999))
def test_voxels_that_fall_on_voxels_are_copied(shape, cuts, turn, seed):
    plan_grid = Grid(shape, np.diag([1.1, 0.7, 3.0, 1.0]))
    part = Box(tuple(n // 3 for n in shape), shape)
    logits = drawn_logits(shape, 4, seed, smooth=False)
    whole = logits.argmax(0)
    labels = label_native(in_slabs(logits, cuts), plan_grid, plan_grid.crop(part).reoriented(turn))
    turned = plan_grid.crop(part).turn_to(turn)
    np.testing.assert_array_equal(labels, apply_orientation(whole[part.index], turned))


def test_blocks_and_chunks_do_not_show(monkeypatch):
    logits = drawn_logits((12, 10, 8), 3, 0, smooth=False)
    plan_grid = Grid((12, 10, 8), np.eye(4))
    for tilt in (0, 20):
        affine = np.eye(4) * 0.7
        affine[:3, :3] = Rotation.from_euler("z", tilt, degrees=True).as_matrix() * 0.7
        affine[3, 3] = 1
        scan_grid = Grid((16, 14, 11), affine)
        at_once = label_native(in_slabs(logits, []), plan_grid, scan_grid)
        monkeypatch.setattr(native, "BLOCK", 300)
        monkeypatch.setattr(native, "POINTS", 7)
        in_parts = label_native(in_slabs(logits, [1, 2, 6, 11]), plan_grid, scan_grid)
        np.testing.assert_array_equal(at_once, in_parts)
        monkeypatch.undo()


@pytest.mark.parametrize(("classes", "kind"), [(2, "u1"), (256, "u1"), (257, "u2")])
def test_labels_take_the_smallest_type_that_holds_them(classes, kind):
    logits = np.zeros((classes, 2, 2, 2), "f4")
    logits[-1] = 1
    grid = Grid((2, 2, 2), np.eye(4))
    labels = label_native(in_slabs(logits, [1]), grid, grid.respaced((0.5, 0.5, 0.5)))
    assert labels.dtype == np.dtype(kind)
    assert (labels == classes - 1).all()


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_slab_is_refused(lost):
    grid = Grid((6, 2, 2), np.eye(4))
    slabs = list(in_slabs(np.zeros((2, 6, 2, 2), "f4"), [2, 4]))
    del slabs[lost]
    with pytest.raises(ShapeError, match=r"row"):
        label_native(slabs, grid, grid)
    with pytest.raises(ShapeError, match="end at row 0 of 6"):
        label_native([], grid, grid)
