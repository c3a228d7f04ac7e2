"""What the bytes of a picture say of it, before SimpleITK makes pixels of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from volunet.io.inquiry import Inquiry

RATIO = 5000
"""No packing of pictures makes them so many times smaller; claims beyond are false."""


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """A picture as its file describes it.

    Args:
        columns: pixels of a row.
        rows: from top to bottom.
        parts: numbers of a pixel: 1 for grey, 3 for colours; those of alpha are not counted.
        dtype: type of each of them.
        alpha: a pixel has one number more, its opacity.
        bits: of a grey number or a palette's index in the file.
        indexed: pixels are indices of a palette.
        turn: EXIF's orientation: 1 for a picture that is shown as it lies in the file.
        lossy: the file holds other values than were drawn.
    """

    columns: int
    rows: int
    parts: int
    dtype: np.dtype[Any]
    alpha: bool = False
    bits: int = 8
    indexed: bool = False
    turn: int = 1
    lossy: bool = False

    def judge(self, inquiry: Inquiry, *, size: int) -> None:
        """Note what is odd about the picture.

        Args:
            size: of its file in bytes.

        Raises:
            Refused: it has no pixels, more than the file can hold, or is to be shown turned and
                that is not accepted.
        """
        if not (self.columns > 0 and self.rows > 0):
            raise inquiry.refusal("NII-DIM", f"It has {self.columns} x {self.rows} pixels.")
        claimed = self.columns * self.rows * self.parts * self.dtype.itemsize
        if claimed > size * RATIO:
            message = f"The header claims {claimed} bytes in a file of {size}."
            raise inquiry.refusal("IO-BOMB", message, claimed=claimed, size=size)
        if self.turn not in (0, 1):
            inquiry.note("IMG-TURNED", f"Its orientation is {self.turn}, where 1 is upright.")
        if self.alpha:
            inquiry.note("IMG-ALPHA", "It has an alpha channel, which was left out.")
        inquiry.settle()


def cut_short(inquiry: Inquiry, kind: str) -> Exception:
    """The refusal of a file that ends before its picture does."""
    return inquiry.refusal("IO-TRUNC", f"The {kind} ends before its picture does.")
