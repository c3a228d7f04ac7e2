"""Write pictures and their masks as PNG, complete and read back, as `volunet.io.write` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.errors import GeometryError, ShapeError
from volunet.findings import Refused
from volunet.io.atomic import differs, write_bytes
from volunet.io.inquiry import Inquiry
from volunet.io.names import PNG_CHANNELS
from volunet.io.png import png_pieces
from volunet.space.picture import MOST_INDEX, is_picture
from volunet.space.volume import Volume


def write_png(
    volume: Volume,
    path: Path,
    *,
    colours: Mapping[int, str],
    keep_type: bool = False,
    announce: Callable[[Path], None] = lambda part: None,
) -> Path:
    """Write a volume on a picture's grid as PNG, with 8 bits where its values fit, else 16.

    Args:
        volume: whole numbers (C, I, J, 1), C = 1 or 3.
        colours: the "#rrggbb" that each value is shown in, which is then an index of a palette;
            {} for none.
        keep_type: with 16 bits where the voxels have them.
        announce: is given the temporary file, complete and read back.

    Returns:
        The path.

    Raises:
        WriteError: as `volunet.io.write.write`.
        GeometryError: the volume is no picture.
        ShapeError: it has other channels, or values that a PNG does not take.
    """
    if not is_picture(volume.grid):
        raise GeometryError(
            f"{path.name} was not written: a PNG does not say where it lies, and {volume.grid} is "
            "not the grid of a picture. Write .nii.gz."
        )
    if volume.channels not in PNG_CHANNELS:
        raise ShapeError(f"{path.name} would take {volume.channels} channels; PNG takes 1 or 3.")
    voxels = _stored(volume.voxels, path)
    if keep_type and volume.voxels.dtype.itemsize > 1:
        voxels = voxels.astype(np.uint16)
    if colours and (voxels.max() > MOST_INDEX or volume.channels > 1):
        raise ShapeError(
            f"{path.name} was not written: a palette shows values up to {MOST_INDEX} of one "
            "channel. Write it without colours."
        )
    shown = {value: colour for value, colour in colours.items() if value <= MOST_INDEX}

    def verify(part: Path) -> None:
        _read_back(part, voxels)
        announce(part)

    return write_bytes(path, png_pieces(voxels, shown), verify=verify)


def _stored(voxels: NDArray[Any], path: Path) -> NDArray[Any]:
    if voxels.dtype.kind == "b":
        return voxels.astype(np.uint8)
    low, high = voxels.min(), voxels.max()
    if voxels.dtype.kind not in "ui" or low < 0 or high > np.iinfo(np.uint16).max:
        raise ShapeError(
            f"{path.name} was not written: PNG takes whole numbers from 0 to 65535, these are "
            f"{voxels.dtype} from {low:g} to {high:g}. Write .nii.gz."
        )
    return voxels.astype(np.min_scalar_type(high))


def _read_back(part: Path, voxels: NDArray[Any]) -> None:
    from volunet.io.pictures import open_drawn, open_picture  # SimpleITK takes a second to load

    inquiry = Inquiry(part.name)
    try:
        if len(voxels) == 1:
            found = open_drawn(part, "a PNG picture", None, inquiry)
        else:
            found = open_picture(part, "a PNG picture", inquiry)
        findings = inquiry.settle()
    except Refused as error:
        raise differs(str(error)) from error
    if findings or not np.array_equal(found.voxels, voxels):
        raise differs("The pixels are others.")
