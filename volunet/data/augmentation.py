"""How often and how far training patches are changed, as a recipe says it.

Sources: the kinds of change and most ranges are nnU-Net's (Isensee et al. 2021, supplementary note
2), without blurring and low resolution, which cost more than they gave in short runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from volunet.config import Settings


def _ascending(factors: tuple[float, float]) -> tuple[float, float]:
    if factors[0] > factors[1]:
        raise ValueError("the smaller factor comes first")
    return factors


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Factors = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]


USUAL_SHARES = {
    "turn_share": 0.5,
    "noise_share": 0.1,
    "brightness_share": 0.15,
    "contrast_share": 0.15,
    "gamma_share": 0.2,
}
HARDEST_SHARES = {
    "turn_share": 0.8,
    "noise_share": 0.3,
    "brightness_share": 0.4,
    "contrast_share": 0.4,
    "gamma_share": 0.4,
}
"""What shares that nobody set grow to."""
USUAL, HARDEST = (15.0, 0.85, 1.2), (30.0, 0.7, 1.4)
"""The same of the largest rotation in degrees, and of the smallest and largest size."""


@dataclass(frozen=True, slots=True)
class Strength:
    """How often and how far patches are changed at one moment of a run; as in `Augmentation`."""

    turn_share: float
    noise_share: float
    brightness_share: float
    contrast_share: float
    gamma_share: float
    turn_deg: float
    scale: tuple[float, float]


class Augmentation(Settings):
    """How often and how far patches are changed.

    What is None is usual at first (`USUAL_SHARES`, 15 degrees, 0.85 to 1.2), and with
    `hardest_after` grows to `HARDEST_SHARES`, 30 degrees and 0.7 to 1.4, so that a long run does
    not learn a small set by heart. Where images are estimated, intensities then stay, as they would
    change the image and not what is to be estimated from it; and where a network corrects its
    image, patches are not turned, as that would blur what it is to restore.

    Args:
        turn_share: share of patches that are turned and scaled.
        turn_deg: largest rotation about each axis, up to 90, so that right stays on the right.
        scale: smallest and largest size of what is seen.
        hardest_after: as many patches as this for each case of the set until they are changed most;
            None for ever as at first.
        mirror: axes (of R, A, S) that are mirrored in half of the patches.
        noise_share: share of patches with added Gaussian noise.
        noise_sd: largest standard deviation of the noise (images have a spread of about 1).
        brightness_share: share of patches multiplied by a factor in `brightness`.
        brightness: smallest and largest factor.
        contrast_share: share of patches stretched about their mean by a factor in `contrast`.
        contrast: smallest and largest factor.
        gamma_share: share of patches whose grey values are bent by a power in `gamma`.
        gamma: smallest and largest power.
    """

    turn_share: Share | None = None
    turn_deg: Annotated[float, Field(ge=0, le=90)] | None = None
    scale: Factors | None = None
    hardest_after: Positive | None = None
    mirror: tuple[Literal[0, 1, 2], ...] = ()
    noise_share: Share | None = None
    noise_sd: Annotated[float, Field(ge=0)] = 0.1
    brightness_share: Share | None = None
    brightness: Factors = (0.75, 1.25)
    contrast_share: Share | None = None
    contrast: Factors = (0.75, 1.25)
    gamma_share: Share | None = None
    gamma: Factors = (0.7, 1.5)

    def for_targets(self, *, corrects: bool = False) -> Augmentation:
        """The same without what nobody asked for and images that are estimated do not bear.

        Args:
            corrects: the network corrects its image.
        """
        unasked = [name for name in USUAL_SHARES if getattr(self, name) is None]
        spared = () if corrects else ("turn_share",)
        return self.model_copy(update={name: 0.0 for name in unasked if name not in spared})

    def after(self, passes: float) -> Strength:
        """How much patches are changed after so many of them for each case of the set."""
        part = 0.0 if self.hardest_after is None else min(passes / self.hardest_after, 1.0)

        def grown(usual: float, hardest: float) -> float:
            return usual + part * (hardest - usual)

        def share(name: str) -> float:
            said: float | None = getattr(self, name)
            return grown(USUAL_SHARES[name], HARDEST_SHARES[name]) if said is None else said

        turned, least, most = map(grown, USUAL, HARDEST)
        return Strength(
            **{name: share(name) for name in USUAL_SHARES},
            turn_deg=turned if self.turn_deg is None else self.turn_deg,
            scale=(least, most) if self.scale is None else self.scale,
        )
