"""SSIM by hand, against MONAI's, and what must hold for all images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics.regression import compute_ssim_and_cs

from volunet.errors import ShapeError
from volunet.evaluation.ssim import ssim

C1, C2 = 0.01**2, 0.03**2
pairs = st.tuples(*[st.integers(1, 13)] * 3).flatmap(
    lambda shape: st.tuples(*[arrays("f4", shape, elements=st.floats(-100, 100, width=32))] * 2)
)


def range_of(image):
    return float(image.max()) - float(image.min())


def row(*values):
    return np.array(values, dtype=float)[:, None, None]


def test_two_voxels_by_hand():
    """An axis of two voxels takes a window of one: only the values themselves are compared."""
    assert ssim(row(0, 1), row(1, 1), 1.0) == pytest.approx((C1 / (1 + C1) + 1) / 2)


def test_three_voxels_by_hand():
    """The window holds all three, with weights e : 1 : e."""
    e = math.exp(-0.5 / 1.5**2)
    middle = 1 / (1 + 2 * e)
    expected = C1 / (middle**2 + C1) * C2 / (middle - middle**2 + C2)
    assert ssim(row(0, 1, 0), row(0, 0, 0), 1.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((43, 12, 13), (11, 11, 11)),
        ((30, 21, 1), (11, 11, 1)),
        ((1, 15, 30), (1, 11, 11)),
        ((16, 7, 8), (11, 7, 7)),
        ((11, 11, 11), (11, 11, 11)),
    ],
)
@pytest.mark.parametrize("low", [0.0, -1000.0])
def test_it_is_the_one_of_monai(shape, window, low):
    rng = np.random.default_rng(3)
    reference = (low + 1500 * rng.random(shape)).cumsum(0).astype("f4")
    prediction = (reference + rng.normal(0, 800, shape)).astype("f4")
    sides = [torch.from_numpy(side)[None, None] for side in (prediction, reference)]
    told = {"kernel_size": window, "kernel_sigma": (1.5,) * 3, "data_range": range_of(reference)}
    expected = float(compute_ssim_and_cs(*sides, 3, **told)[0].double().mean())
    assert expected < 0.99
    assert ssim(reference, prediction, range_of(reference)) == pytest.approx(expected, abs=1e-4)


@given(pairs)
def test_it_is_1_for_equal_images_and_never_more(images):
    reference, prediction = images
    whole = range_of(reference)
    equal, found = (ssim(reference, other, whole) for other in (reference, prediction))
    if whole == 0:
        assert np.isnan([equal, found]).all()
    else:
        assert equal == 1
        assert -1 - 1e-9 <= found <= 1 + 1e-9


@given(pairs, st.floats(0.01, 1000))
def test_the_unit_of_the_values_does_not_matter(images, factor):
    reference, prediction = (image.astype(float) for image in images)
    whole = range_of(reference)
    scaled = ssim(reference * factor, prediction * factor, whole * factor)
    assert scaled == pytest.approx(ssim(reference, prediction, whole), nan_ok=True, abs=1e-6)


def test_values_far_from_0_keep_their_digits():
    rng = np.random.default_rng(0)
    reference = rng.random((12, 12, 12))
    prediction = rng.random((12, 12, 12))
    near, far = (ssim(reference + c, prediction + c, 1.0) for c in (1e4, 1e8))
    assert far == pytest.approx(near, abs=1e-4)


def test_images_of_other_shapes_are_told():
    with pytest.raises(ShapeError, match=r"\(3, 1, 1\) and \(2, 1, 1\)"):
        ssim(row(1, 2, 3), row(1, 2), 1.0)
