"""A figure to draw on and a file to keep it in, without matplotlib's global state."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from volunet.errors import MissingExtra
from volunet.io.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def new_figure(size_in: tuple[float, float], background: str) -> Figure:
    """An empty figure of this width and height in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("Drawing pictures", "viz") from error
    return Figure(figsize=size_in, dpi=DPI, facecolor=background)


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Keep a figure as a PNG file, whole or not at all.

    Raises:
        WriteError: the file could not be written.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_bytes(path, picture.getvalue())
