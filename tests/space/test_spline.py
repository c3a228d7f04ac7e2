from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates, zoom
from skimage.transform import resize

from volunet.space.spline import edge_coordinates, nearest_rows, resize_edges, spline_matrix

shapes = st.tuples(*[st.integers(1, 12)] * 3)
seeds = st.integers(0, 2**32 - 1)


def _noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(shapes, shapes, st.sampled_from([1, 3]), seeds)
def test_a_resized_image_is_that_of_scikit_image(source, target, order, seed):
    image = _noise(source, seed)
    expected = resize(image.astype(float), target, order, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(resize_edges(image, target, order=order), expected, atol=1e-4)


@given(shapes, shapes, seeds)
def test_without_clipping_the_spline_is_that_of_scipy(source, target, seed):
    image = _noise(source, seed).astype(np.float64)
    seen = image
    for axis in range(3):
        weights = spline_matrix(source[axis], target[axis], 3)
        seen = np.moveaxis(np.tensordot(weights, seen, (1, axis)), 0, axis)
    scale = np.divide(target, source)
    expected = zoom(image, scale, order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(seen, expected, atol=1e-5)


@given(shapes, shapes, st.integers(0, 2), seeds)
def test_thick_slices_are_resized_one_by_one_and_copied(source, target, axis, seed):
    image = _noise(source, seed)
    plane = tuple(n for a, n in enumerate(target) if a != axis)
    slices = [
        resize(np.take(image, row, axis).astype(float), plane, 3, mode="edge", anti_aliasing=False)
        for row in range(source[axis])
    ]
    stacked = np.stack(slices, axis)
    where = np.mgrid[tuple(slice(0, n) for n in target)].astype(float)
    where[axis] = source[axis] / target[axis] * (where[axis] + 0.5) - 0.5
    expected = map_coordinates(stacked, where, order=0, mode="nearest")
    if source != target:
        found = resize_edges(image, target, nearest=axis)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3]))
def test_every_row_of_weights_sums_to_one(source, target, order):
    np.testing.assert_allclose(spline_matrix(source, target, order).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(300, 150), (150, 299)])
def test_a_long_axis_in_blocks_is_that_of_scikit_image(source, target):
    image = _noise((source, 5, 3), 7)
    expected = resize(image.astype(float), (target, 5, 3), 3, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(resize_edges(image, (target, 5, 3)), expected, atol=1e-4)


def test_an_image_of_the_right_shape_stays_as_it_is():
    image = _noise((3, 4, 5), 0)
    assert resize_edges(image, (3, 4, 5)) is image


def test_half_way_between_two_slices_the_upper_one_is_taken():
    assert edge_coordinates(4, 2).tolist() == [0.5, 2.5]
    assert nearest_rows(4, 2).tolist() == [1, 3]
