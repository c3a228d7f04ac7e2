"""Intensities are brought to a mean of 0 and a spread of 1, by the image or by the set."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import NormalizeIntensity

from volunet.config import build
from volunet.errors import ConfigError
from volunet.planning.intensity import Intensity, normalise

IMAGE = Intensity(scheme="image")


def row(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def test_the_set_clips_and_scales():
    window = Intensity(scheme="set", low=-100.0, high=300.0, mean=50.0, sd=50.0)
    seen = normalise(row(-1024, -100, 50, 150, 3000), window)
    assert seen.ravel().tolist() == [-3, -3, 0, 2, 5]
    assert seen.dtype == np.float32


def test_the_image_is_scaled_by_its_own_mean_and_spread():
    assert normalise(row(1, 3), IMAGE).ravel().tolist() == [-1, 1]
    assert normalise(row(0, 0, 0, 4), IMAGE).ravel() == pytest.approx([-1 / 3**0.5] * 3 + [3**0.5])


@given(st.integers(0, 2**32 - 1), st.floats(-1e5, 1e5), st.floats(100, 1e5))
def test_the_image_agrees_with_monai(seed, centre, spread):
    voxels = np.random.default_rng(seed).normal(centre, spread, (6, 5, 4))
    theirs = NormalizeIntensity()(torch.from_numpy(voxels)[None])[0].numpy()
    np.testing.assert_allclose(normalise(voxels, IMAGE), theirs, atol=3e-4)


def test_noise_of_rounding_about_a_constant_is_taken_for_the_constant():
    voxels = np.full((5, 5, 5), 1000.1, dtype=np.float32)
    voxels[2] = np.nextafter(voxels[2], 0)
    assert not normalise(voxels, IMAGE).any()


@given(st.floats(-1e6, 1e6), st.sampled_from(["f4", "f8"]), st.integers(1, 20))
def test_a_constant_image_is_all_zeros(value, kind, side):
    assert not normalise(np.full((side, side, 3), value, dtype=kind), IMAGE).any()


@pytest.mark.parametrize("value", [0.0, 5000.0])
def test_a_constant_image_has_its_value_on_the_scale_of_the_set(value):
    window = Intensity(scheme="set", low=0.0, high=10.0, mean=4.0, sd=2.0)
    assert (normalise(np.full((2, 2, 2), value), window) == (-2 if value == 0 else 3)).all()


@pytest.mark.parametrize("kind", ["i2", "u1", "f4", "f8"])
@pytest.mark.parametrize("scheme", [IMAGE, Intensity(scheme="set", low=0, high=9, mean=4, sd=2)])
def test_the_scan_itself_is_never_changed(kind, scheme):
    voxels = np.arange(24).reshape(2, 3, 4).astype(kind)
    before = voxels.copy()
    assert normalise(voxels, scheme).dtype == np.float32
    np.testing.assert_array_equal(voxels, before)


def test_a_small_spread_on_a_large_offset_is_kept():
    voxels = 1e5 + np.random.default_rng(0).normal(0, 50, (20, 20, 20))
    seen = normalise(voxels, IMAGE)
    assert seen.std() == pytest.approx(1, abs=1e-3)
    assert seen.mean() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"scheme": "image", "low": 0.0}, "the scheme 'image' takes no numbers"),
        ({"scheme": "set", "low": 0, "high": 1, "mean": 0}, "needs low, high, mean and sd"),
        ({"scheme": "set", "low": 1, "high": 1, "mean": 0, "sd": 1}, "low must be below high"),
        ({"scheme": "set", "low": 0, "high": 1, "mean": 0, "sd": 0}, "sd above 0"),
        ({"scheme": "zscore"}, "Input should be 'image' or 'set'"),
        ({"scheme": "set", "low": float("-inf"), "high": 1, "mean": 0, "sd": 1}, "finite number"),
    ],
)
def test_a_scheme_that_is_incomplete_is_refused(values, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        build(Intensity, values, at="plan")
