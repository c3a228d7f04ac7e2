"""The grid of a plain picture (PNG, TIFF, JPEG, BMP), which is a volume of one slice.

Columns are i and rows are j, and a pixel is 1 mm wide, whatever a file says of dots per inch. Rows
run downwards, as axes to a patient's left and back do on a screen, so that a page shows a picture
as it lies in its file. SimpleITK places pictures in the same way.
"""

from __future__ import annotations

import numpy as np

from volunet.space.grid import Grid

COLOURS = ("red", "green", "blue")
"""What the channels of a picture in colours are called."""
MOST_INDEX = 255
"""The highest value that a palette has a colour for."""
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def picture_grid(columns: int, rows: int) -> Grid:
    """Where the pixels of a picture sit: the grid (columns, rows, 1).

    Raises:
        GeometryError: there is no column or no row.
    """
    return Grid((columns, rows, 1), AFFINE)


def is_picture(grid: Grid) -> bool:
    """Whether a grid is that of a picture, be it read from a picture's file or not."""
    return grid.shape[2] == 1 and np.array_equal(grid.affine, AFFINE)
