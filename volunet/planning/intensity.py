"""Intensities as the network wants them: around 0, with a spread of about 1.

Sources: the two schemes are nnU-Net's (Isensee et al. 2021, Nature Methods 18, supplementary note
2): CT is clipped and scaled by what the training set's foreground holds, since HU are absolute;
all else is scaled by each image's own mean and spread.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from volunet.config import Settings
from volunet.planning.targets import Scale


class Intensity(Settings):
    """How one channel is scaled.

    Args:
        scheme: "image" subtracts each image's mean and divides by its standard deviation; "set"
            clips to [low, high] and uses the training set's mean and standard deviation.
        low: lower bound of "set", in the channel's own unit.
        high: upper bound of "set".
        mean: what "set" subtracts.
        sd: what "set" divides by, above 0.
    """

    scheme: Literal["image", "set"]
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    sd: float | None = None

    @model_validator(mode="after")
    def _be_complete(self) -> Self:
        numbers = (self.low, self.high, self.mean, self.sd)
        if self.scheme == "image" and any(x is not None for x in numbers):
            raise ValueError("the scheme 'image' takes no numbers")
        if self.scheme == "set":
            if None in numbers:
                raise ValueError("the scheme 'set' needs low, high, mean and sd")
            if not (self.low < self.high and self.sd > 0):  # type: ignore[operator]
                raise ValueError("low must be below high, and sd above 0")
        return self


def normalise(voxels: NDArray[Any], intensity: Intensity) -> NDArray[np.float32]:
    """One channel scaled for the network.

    Args:
        voxels: (I, J, K), finite.

    Returns:
        float32 (I, J, K); all zeros where the image is constant under the scheme "image".
    """
    scaled = voxels.astype(np.float32, order="C")
    normalise_in_place(scaled, intensity)
    return scaled


def normalise_in_place(voxels: NDArray[np.float32], intensity: Intensity) -> Scale:
    """One channel scaled for the network, without a copy of it.

    Args:
        voxels: (I, J, K), finite; overwritten as `normalise` would scale them.

    Returns:
        By what they were scaled; a spread of 1 where the image is constant.
    """
    if intensity.scheme == "set":
        assert intensity.mean is not None, "the scheme 'set' has all numbers"
        assert intensity.sd is not None, "the scheme 'set' has all numbers"
        np.clip(voxels, intensity.low, intensity.high, out=voxels)
        voxels -= np.float32(intensity.mean)
        voxels /= np.float32(intensity.sd)
        return Scale(mean=intensity.mean, sd=intensity.sd)
    mean = voxels.mean(dtype=np.float64)
    voxels -= np.float32(mean)
    squares = sum(float(np.mean(np.square(row), dtype=np.float64)) for row in voxels)
    sd = float(np.sqrt(squares / len(voxels)))
    if sd > 1e-6 * max(abs(float(mean)), 1e-30):
        voxels /= np.float32(sd)
        return Scale(mean=float(mean), sd=sd)
    voxels[:] = 0
    return Scale(mean=float(mean), sd=1.0)
