"""Intensities as nnU-Net's networks want them: its schemes, on the part of a scan that is not 0.

Source: Isensee et al. 2021 (nnU-Net, 10.1038/s41592-020-01008-z), supplementary note 2.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from volunet.config import Settings

PART = 1 << 20  # voxels whose squares are summed at once
LEAST = 1e-8  # what nnU-Net divides by where an image is constant


class NnunetIntensity(Settings):
    """How one channel is scaled.

    Args:
        scheme: "ct" clips to [low, high] and uses the training set's mean and standard deviation;
            "zscore" uses the image's own; "rescale" brings it to [0, 1]; "rgb" divides by 255;
            "none" leaves it.
        masked: "zscore" looks at, and changes, only voxels that are not 0 or lie in a hole.
        low: lower bound of "ct".
        high: upper bound of "ct".
        mean: what "ct" subtracts.
        sd: what "ct" divides by.
    """

    scheme: Literal["ct", "zscore", "rescale", "rgb", "none"]
    masked: bool = False
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    sd: float | None = None

    @model_validator(mode="after")
    def _be_complete(self) -> Self:
        numbers = (self.low, self.high, self.mean, self.sd)
        if (None in numbers) if self.scheme == "ct" else any(x is not None for x in numbers):
            raise ValueError("the scheme 'ct', and no other, takes low, high, mean and sd")
        if self.masked and self.scheme != "zscore":
            raise ValueError("only the scheme 'zscore' can be masked")
        return self

    def scale(self, voxels: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> None:
        """Scales one channel (I, J, K) in place.

        Args:
            inside: (I, J, K), for a masked scheme: which voxels count.
        """
        if self.scheme == "ct":
            np.clip(voxels, self.low, self.high, out=voxels)
            voxels -= np.float32(self.mean)
            voxels /= np.float32(max(self.sd or 0, LEAST))
        elif self.scheme == "zscore":
            _standardise(voxels, inside if self.masked else None)
        elif self.scheme == "rescale":
            voxels -= voxels.min()
            voxels /= np.float32(max(voxels.max(), LEAST))
        elif self.scheme == "rgb":
            voxels /= np.float32(255)


def _standardise(voxels: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> None:
    seen: NDArray[Any] = voxels if inside is None else voxels[inside]
    if not seen.size:
        return
    mean = np.float32(seen.mean(dtype=np.float64))
    sd = np.float32(max(_spread(seen), LEAST))
    where: Any = True if inside is None else inside
    np.subtract(voxels, mean, out=voxels, where=where)
    np.divide(voxels, sd, out=voxels, where=where)


def _spread(values: NDArray[Any]) -> float:
    """The standard deviation, part by part: no copy of all values in float64."""
    mean, flat = values.mean(dtype=np.float64), values.reshape(-1)
    parts = (flat[first : first + PART] for first in range(0, flat.size, PART))
    squares = (np.square(part - mean, dtype=np.float64).sum() for part in parts)
    return float(np.sqrt(sum(squares) / values.size))
