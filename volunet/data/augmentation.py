"""How often and how far training patches are changed, as a recipe says it.

Sources: the kinds of change and most ranges are nnU-Net's (Isensee et al. 2021, supplementary note
2), without blurring and low resolution, which cost more than they gave in short runs.
"""

from __future__ import annotations

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


class Augmentation(Settings):
    """How often and how far patches are changed.

    Shares that are None are `USUAL_SHARES`. Where images are estimated, intensities then stay, as
    they would change the image and not what is to be estimated from it; and where a network
    corrects its image, patches are not turned, as that would blur what it is to restore.

    Args:
        turn_share: share of patches that are turned and scaled.
        turn_deg: largest rotation about each axis, up to 90, so that right stays on the right.
        scale: smallest and largest size of what is seen.
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
    turn_deg: Annotated[float, Field(ge=0, le=90)] = 15.0
    scale: Factors = (0.85, 1.2)
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

    def share(self, name: str) -> float:
        """A share of `USUAL_SHARES`, or the one in its place."""
        said: float | None = getattr(self, name)
        return USUAL_SHARES[name] if said is None else said
