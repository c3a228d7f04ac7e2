"""What a set of labelled scans is like: shapes, spacings, intensities, volumes of structures.

Each case is looked at once and leaves a few numbers; two fingerprints are merged by putting their
cases together, so a large set can be looked at in parts. Axes are R, A, S.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.config import Settings
from volunet.errors import DatasetError
from volunet.io.header import Header
from volunet.space.grid import Grid, Triple
from volunet.space.labels import Labels
from volunet.space.picture import is_picture
from volunet.space.volume import Volume

SHARES = (
    0.0,
    0.001,
    0.005,
    0.02,
    0.05,
    *(i / 10 for i in range(1, 10)),
    0.95,
    0.98,
    0.995,
    0.999,
    1.0,
)
"""Shares of voxels at which quantiles are kept, denser at both ends."""


MOST_SORTED = 1 << 22
"""Voxels that quantiles are taken of where every voxel of a channel counts; of a larger channel,
those of an even lattice."""


class ChannelFacts(Settings):
    """Intensities of one channel of one case.

    Where a case has targets in place of labels, all its voxels count as labelled.

    Args:
        image: quantiles at `SHARES` over all voxels.
        foreground: the same over labelled voxels; empty where there are none.
        count: labelled voxels.
        mean: of labelled voxels, 0 where there are none.
        sd: of labelled voxels, 0 where there are none.
    """

    image: tuple[float, ...]
    foreground: tuple[float, ...]
    count: int
    mean: float
    sd: float


class CaseFacts(Settings):
    """One case: grid, intensities, and the volume in ml of each structure that was drawn in it.

    Args:
        top: the highest number that the pixels of a picture can hold, of 8 or 16 bits; 0 for all
            other images.
        targets: intensities of the targets; () for a case with labels.
        target_top: as `top`, of the targets.
        finer: how many voxels of the targets lie along one of the image's.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: tuple[ChannelFacts, ...]
    volumes_ml: dict[str, float]
    top: int = 0
    targets: tuple[ChannelFacts, ...] = ()
    target_top: int = 0
    finer: tuple[int, int, int] = (1, 1, 1)


class Fingerprint(Settings):
    """The facts of every case of a training set, by case id."""

    cases: dict[str, CaseFacts]

    def merged(self, other: Fingerprint) -> Fingerprint:
        """The fingerprint of both sets together; a case in both counts once."""
        return Fingerprint(cases={**self.cases, **other.cases})

    def numbered(self) -> Fingerprint:
        """The same facts under numbers, since case ids may say who a patient is."""
        facts = self.cases.values()
        return Fingerprint(cases={f"{n:05d}": case for n, case in enumerate(facts, start=1)})

    @property
    def spacings(self) -> NDArray[np.float64]:
        """Spacing of each case in mm, (cases, 3)."""
        return np.array([case.spacing for case in self.cases.values()], dtype=np.float64)

    @property
    def shapes(self) -> NDArray[np.float64]:
        """Shape of each case in voxels, (cases, 3)."""
        return np.array([case.shape for case in self.cases.values()], dtype=np.float64)

    def largest(self, channels: int) -> Header:
        """What the scan of most voxels would be like if it were stored in float32."""
        case = max(self.cases.values(), key=lambda facts: prod(facts.shape))
        return Header(Grid(case.shape, np.diag([*case.spacing, 1.0])), channels, np.dtype("f4"))

    def foreground_quantile(self, channel: int, share: float) -> float:
        """The intensity that a share of all labelled voxels stays below.

        Raises:
            DatasetError: no case has a labelled voxel.
        """
        facts = self._foreground(channel)
        points = np.unique(np.concatenate([f.foreground for f in facts]))
        counts = np.array([f.count for f in facts], dtype=np.float64)
        below = [np.interp(points, *_increasing(f.foreground), left=0, right=1) for f in facts]
        return float(np.interp(share, (counts / counts.sum()) @ np.array(below), points))

    def foreground_moments(self, channel: int) -> tuple[float, float]:
        """Mean and standard deviation of all labelled voxels together (Chan et al. 1979).

        Raises:
            DatasetError: no case has a labelled voxel.
        """
        return _moments(self._foreground(channel))

    def target_moments(self, target: int) -> tuple[float, float]:
        """Mean and standard deviation of all voxels of a target together."""
        return _moments([case.targets[target] for case in self.cases.values()])

    def image_range(self, channel: int) -> tuple[float, float]:
        """The lowest and highest of the cases' 0.5 % and 99.5 % quantiles over all voxels."""
        low, high = self.image_ends(channel).T
        return float(low.min()), float(high.max())

    def image_ends(self, channel: int) -> NDArray[np.float64]:
        """The 0.5 % and 99.5 % quantiles over all voxels of each case, (cases, 2)."""
        ends = SHARES.index(0.005), SHARES.index(0.995)
        seen = [case.channels[channel].image for case in self.cases.values()]
        return np.array([[image[end] for end in ends] for image in seen], dtype=np.float64)

    def _foreground(self, channel: int) -> list[ChannelFacts]:
        facts = [case.channels[channel] for case in self.cases.values()]
        if not (labelled := [f for f in facts if f.count]):
            raise DatasetError("No case has a labelled voxel; there is nothing to learn from.")
        return labelled


def _moments(facts: Sequence[ChannelFacts]) -> tuple[float, float]:
    share = np.array([f.count for f in facts], dtype=np.float64)
    share /= share.sum()
    means, sds = np.array([f.mean for f in facts]), np.array([f.sd for f in facts])
    mean = float(share @ means)
    return mean, float(np.sqrt(share @ (sds**2 + (means - mean) ** 2)))


def take_facts(image: Volume, label: Volume, labels: Labels) -> CaseFacts:
    """The facts of one case.

    Args:
        image: (C, I, J, K), any orientation.
        label: (1, I, J, K) label values on the image's grid.
    """
    grid = image.grid.reoriented("RAS")
    inside = np.isin(label.voxels[0], labels.values)
    counts = {
        name: np.count_nonzero(label.voxels == value) for name, value in labels.structures.items()
    }
    return CaseFacts(
        shape=grid.shape,
        spacing=grid.spacing,
        channels=tuple(_take_channel(channel, inside) for channel in image.voxels),
        volumes_ml={name: count * grid.voxel_ml for name, count in counts.items()},
        top=top_of(image),
    )


def take_target_facts(
    image: Volume, target: Volume, *, finer: tuple[int, int, int], top: int
) -> CaseFacts:
    """The facts of one case with targets.

    Args:
        image: (C, I, J, K), any orientation.
        target: (T, I, J, K) on its own grid.
        finer: how many of its voxels lie along one of the image's, along R, A and S.
        top: the highest number that its pixels can hold, where it is a picture, else 0.
    """
    grid = image.grid.reoriented("RAS")
    return CaseFacts(
        shape=grid.shape,
        spacing=grid.spacing,
        channels=tuple(map(_take_all, image.voxels)),
        volumes_ml={},
        top=top_of(image),
        targets=tuple(map(_take_all, target.voxels)),
        target_top=top,
        finer=finer,
    )


def top_of(image: Volume) -> int:
    """The highest number that the pixels of a picture can hold; 0 for all that is none."""
    kind = image.voxels.dtype
    has_range = kind.kind == "u" and kind.itemsize <= 2
    return int(np.iinfo(kind).max) if has_range and is_picture(image.grid) else 0


def _take_channel(voxels: NDArray[np.float32], inside: NDArray[np.bool_]) -> ChannelFacts:
    labelled = voxels[inside].astype(np.float64)
    return ChannelFacts(
        image=_spread(voxels),
        foreground=_quantiles(labelled) if labelled.size else (),
        count=labelled.size,
        mean=float(labelled.mean()) if labelled.size else 0.0,
        sd=float(labelled.std()) if labelled.size else 0.0,
    )


def _take_all(voxels: NDArray[Any]) -> ChannelFacts:
    """The facts of a channel (I, J, K) of which every voxel counts."""
    sums = [(float(v.sum()), float(np.square(v).sum())) for v in map(_float64, voxels)]
    first, second = np.array(sums).sum(axis=0) / voxels.size
    spread = _spread(voxels)
    return ChannelFacts(
        image=spread,
        foreground=spread,
        count=voxels.size,
        mean=float(first),
        sd=float(np.sqrt(max(second - first**2, 0.0))),
    )


def _spread(voxels: NDArray[Any]) -> tuple[float, ...]:
    """Least and largest value, and quantiles between them of `MOST_SORTED` voxels at even steps."""
    step = ceil((voxels.size / MOST_SORTED) ** (1 / 3))
    _, *inner, _ = _quantiles(_float64(voxels[::step, ::step, ::step]).ravel())
    return (float(voxels.min()), *inner, float(voxels.max()))


def _float64(voxels: NDArray[Any]) -> NDArray[np.float64]:
    return voxels.astype(np.float64)


def _quantiles(values: NDArray[np.float64] | NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(q) for q in np.quantile(values, SHARES))


def _increasing(quantiles: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intensities and shares with each intensity once, at its highest share."""
    values, last = np.unique(np.array(quantiles)[::-1], return_index=True)
    return values, np.array(SHARES)[::-1][last]


def median_spacing(fingerprint: Fingerprint) -> Triple:
    """The median spacing along R, A and S in mm."""
    r, a, s = np.median(fingerprint.spacings, axis=0).tolist()
    return r, a, s
