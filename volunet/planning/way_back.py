"""How what a network says of a prepared image becomes labels of the scan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WayBack:
    """The rules of a plan for the way back to the scan's own grid.

    Args:
        nearest: an axis of the prepared image along which logits are copied from the nearest slice
            rather than blended.
        cropped: what lies beyond the edges of the prepared image is background; else it is like
            the nearest border.
        regions: where the network tells of regions that may overlap: the class that each logit
            above 0 writes, later ones over earlier ones. Else the most likely class wins.
    """

    nearest: int | None = None
    cropped: bool = False
    regions: tuple[int, ...] = ()
