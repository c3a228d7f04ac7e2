"""Structural similarity (SSIM) after Wang et al. 2004: local means, spreads and their product.

Means, variances and the covariance are taken within a Gaussian window that slides over all places
where it lies inside the image, and SSIM is the mean over these places. The window is 11 voxels wide
along each axis; along a shorter axis it has the largest odd width that fits, so that an axis of one
voxel is left out and a picture is scored in its plane. Voxels count, not mm.

The window is applied axis by axis in float64, some planes at a time. MONAI's `compute_ssim_and_cs`,
which this agrees with, takes a window of all axes at once, about twenty times as long in 3-D.

Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
structural similarity", IEEE Transactions on Image Processing 13(4), 2004, equation 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from volunet.errors import ShapeError

WIDTH_VOX = 11
SIGMA_VOX = 1.5
K1, K2 = 0.01, 0.03
PLANES = 16
"""Planes of window places at a time, which bounds the memory."""


def ssim(reference: NDArray[Any], prediction: NDArray[Any], value_range: float) -> float:
    """The structural similarity of two images, 1 where they are equal.

    Args:
        reference: (I, J, K), finite numbers.
        prediction: (I, J, K), finite numbers.
        value_range: of the reference, largest less smallest value; what is added to denominators
            is a share of it.

    Returns:
        -1 to 1; NaN where the range is 0, as every difference is then beyond it.

    Raises:
        ShapeError: the two are not three-dimensional, or differ in shape.
    """
    if reference.ndim != 3 or reference.shape != prediction.shape:
        raise ShapeError(
            f"SSIM needs two images of one shape (I, J, K), got {reference.shape} and "
            f"{prediction.shape}. Give a picture as voxels[..., None]."
        )
    if not value_range > 0:
        return float("nan")
    windows = [_window(n) for n in reference.shape]
    halo = len(windows[0]) - 1
    # Products of numbers far from 0 would lose the digits that variances are made of.
    centre = float(reference.mean(dtype=np.float64))
    total, places = 0.0, 0
    for start in range(0, reference.shape[0] - halo, PLANES):
        part = slice(start, start + PLANES + halo)
        a, b = ((side[part] - np.float64(centre)) / value_range for side in (reference, prediction))
        found = _similarity(a, b, centre / value_range, windows)
        total, places = total + float(found.sum()), places + found.size
    return total / places


def _similarity(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    centre: float,
    windows: Sequence[NDArray[np.float64]],
) -> NDArray[np.float64]:
    """SSIM at every place of the window, of values in units of the range, `centre` taken off."""
    mean_a, mean_b = _means(a, windows), _means(b, windows)
    spreads = _means(a * a + b * b, windows) - (mean_a**2 + mean_b**2)
    together = _means(a * b, windows) - mean_a * mean_b
    mean_a, mean_b = mean_a + centre, mean_b + centre
    luminance = (2 * mean_a * mean_b + K1**2) / (mean_a**2 + mean_b**2 + K1**2)
    return np.asarray(luminance * (2 * together + K2**2) / (spreads + K2**2))


def _means(
    values: NDArray[np.float64], windows: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The weighted mean at every place where the window lies inside."""
    for axis, window in enumerate(windows):
        half = len(window) // 2
        if half:
            whole = correlate1d(values, window, axis=axis)
            inside = slice(half, values.shape[axis] - half)
            values = whole[(slice(None),) * axis + (inside,)]
    return values


def _window(voxels: int) -> NDArray[np.float64]:
    """The weights along an axis of so many voxels: (W,), W odd, of sum 1."""
    half = min(WIDTH_VOX, voxels - 1 + voxels % 2) // 2
    weights = np.exp(-0.5 * (np.arange(-half, half + 1) / SIGMA_VOX) ** 2)
    return np.asarray(weights / weights.sum())
