"""What a network estimates voxel by voxel, where it does not tell structures apart: regression."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from volunet.config import Settings

Top = Literal[0, 255, 65535]
Times = Annotated[int, Field(ge=1, le=16)]


class Scale(Settings):
    """How values are brought to what a network works with, and back.

    Args:
        mean: that is subtracted, in the values' own unit.
        sd: that is divided by, in the same unit.
    """

    mean: float
    sd: Annotated[float, Field(gt=0)]


class Targets(Settings):
    """The images that a network estimates, one a head.

    Args:
        names: of the targets, such as "CT". A target with the name of a channel is an image of the
            same kind, such as the same scan without noise.
        scales: of each target over the training set; None for one with the name of a channel, which
            is scaled as that channel is, scan by scan.
        finer: how many voxels of a target lie along one of the scan's, along R, A and S; (1, 1, 1)
            where both have the same grid.
        top: the highest number that the pixels of a target can hold, where targets are pictures:
            estimates are rounded and kept within. 0 for all else.
    """

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    scales: tuple[Scale | None, ...]
    finer: tuple[Times, Times, Times] = (1, 1, 1)
    top: Top = 0

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.scales) != len(self.names):
            raise ValueError(f"{len(self.names)} targets need as many scales")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"two targets have the same name in {list(self.names)}")
        return self
