"""Pictures of a segmentation and of a training run, as PNG files.

Overlays are radiological (the patient's right is on the left), in true proportions, at one scale.
matplotlib is needed (extra `viz`); it is used without its global state, so that pictures may be
drawn from any thread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volunet.reporting.canvas import new_figure, save_png
from volunet.reporting.curves import draw_curves
from volunet.reporting.planes import Panel, cut_panels, grey_window
from volunet.space.labels import Labels
from volunet.space.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curves", "draw_overlay"]

# Inches: the largest picture of the planes, the gap between them, and room for words.
WIDEST, HIGHEST, GAP, CAPTION, LEGEND = 12.0, 6.5, 0.1, 0.4, 0.65
BLACK, GREY, WHITE = "#101010", "#b8b8b8", "#ffffff"
FILL = 0.45


def draw_overlay(
    image: Volume,
    labels: Volume,
    of: Labels,
    path: str | os.PathLike[str],
    *,
    reference: Volume | None = None,
) -> None:
    """Draw a label map over its scan: an axial, a coronal and a sagittal plane.

    The planes are those that show most of the structures. The label map is filled, the reference
    is an outline. Tilted grids are turned to the nearest axes of the patient, not resampled.

    Args:
        image: (C, I, J, K); the first channel is shown, grey from its robust percentiles.
        labels: (1, I, J, K) on the image's grid; without any structure the image's centre is shown.
        of: names and colours.
        path: the PNG file; its folder must exist.
        reference: (1, I, J, K) on the image's grid.

    Raises:
        GeometryError: the volumes lie on different grids.
        MissingExtra: matplotlib is not installed.
        WriteError: the file could not be written.
    """
    panels = cut_panels(image, labels, reference, of.values)
    window = grey_window(panels)
    figure, axes = _layout(panels)
    for ax, panel in zip(axes, panels, strict=True):
        _draw_panel(ax, panel, of, window)
    _legend(figure, panels, of)
    save_png(figure, path)


def _layout(panels: Sequence[Panel]) -> tuple[Figure, list[Axes]]:
    """A row of panels at one scale, in mm, with room for a caption above and a legend below."""
    widths, heights = (np.array([panel.size_mm[n] for panel in panels]) for n in (0, 1))
    scale = min(WIDEST / widths.sum(), HIGHEST / heights.max())
    wide = float(widths.sum() * scale + GAP * (len(panels) + 1))
    tall = float(heights.max() * scale + CAPTION + LEGEND)
    figure = new_figure((max(wide, 6.0), tall), BLACK)
    left = (max(wide, 6.0) - wide) / 2 + GAP
    axes = []
    for width, height in zip(widths * scale, heights * scale, strict=True):
        bottom = LEGEND + (heights.max() * scale - height) / 2
        place = (left / max(wide, 6.0), bottom / tall, width / max(wide, 6.0), height / tall)
        axes.append(figure.add_axes(place))
        left += width + GAP
    return figure, axes


def _draw_panel(ax: Axes, panel: Panel, of: Labels, window: tuple[float, float]) -> None:
    width, height = panel.size_mm
    extent = (0.0, width, height, 0.0)
    ax.imshow(
        panel.image,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        extent=extent,
        interpolation="bilinear",
    )
    for name, value in of.structures.items():
        colour = of.colour_of(name)
        _fill(ax, panel.labels == value, panel.size_mm, colour)
        if panel.reference is None:
            _outline(ax, panel.labels == value, panel.size_mm, colour, 1.2)
        else:
            # White beneath the colour, so that it stands out from the fill of the same colour.
            _outline(ax, panel.reference == value, panel.size_mm, WHITE, 2.4)
            _outline(ax, panel.reference == value, panel.size_mm, colour, 1.3)
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    axis = "xyz"[panel.view.axis]
    ax.set_title(f"{panel.view.name}, {axis} = {panel.place_mm:.0f} mm", color=GREY, fontsize=9)
    corners = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    sides = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for letter, corner, (across, along) in zip(panel.view.letters, corners, sides, strict=True):
        _letter(ax, letter, corner, across, along)


def _fill(ax: Axes, mask: NDArray[np.bool_], size_mm: tuple[float, float], colour: str) -> None:
    if mask.any():
        ax.contourf(*_centres(mask, size_mm), levels=[0.5, 1.5], colors=[colour], alpha=FILL)


def _outline(
    ax: Axes, mask: NDArray[np.bool_], size_mm: tuple[float, float], colour: str, width: float
) -> None:
    if mask.any():
        ax.contour(*_centres(mask, size_mm), levels=[0.5], colors=[colour], linewidths=width)


def _centres(
    mask: NDArray[np.bool_], size_mm: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where voxel centres lie in mm, and 1 inside the mask; with a ring of 0 round the picture."""
    rows, columns = mask.shape
    x = (np.arange(-1, columns + 1) + 0.5) * size_mm[0] / columns
    y = (np.arange(-1, rows + 1) + 0.5) * size_mm[1] / rows
    return x, y, np.pad(mask, 1).astype(np.float64)


def _letter(ax: Axes, letter: str, corner: tuple[float, float], across: Any, along: Any) -> None:
    from matplotlib.patheffects import withStroke

    ax.text(
        *corner,
        letter,
        transform=ax.transAxes,
        color=WHITE,
        fontsize=11,
        fontweight="bold",
        ha=across,
        va=along,
        path_effects=[withStroke(linewidth=2.5, foreground=BLACK)],
    )


def _legend(figure: Figure, panels: Sequence[Panel], of: Labels) -> None:
    """The structures that are seen, and what filled and outlined mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    compared = panels[0].reference is not None
    planes = [p.labels for p in panels] + [p.reference for p in panels if p.reference is not None]
    seen = [n for n, v in of.structures.items() if any((plane == v).any() for plane in planes)]
    handles: list[Patch | Line2D] = [Patch(color=of.colour_of(name), label=name) for name in seen]
    if compared:
        handles.append(Patch(facecolor=GREY, alpha=FILL, label="filled: prediction"))
        handles.append(Line2D([], [], color=WHITE, label="outline: reference"))
    if handles:
        figure.legend(
            handles=handles,
            loc="lower center",
            ncols=-(-len(handles) // -(-len(handles) // 8)),
            frameon=False,
            labelcolor=WHITE,
            fontsize=9,
        )
