"""Whether two files of one case lie on the same grid."""

from __future__ import annotations

from volunet.findings import Finding, finding
from volunet.space.grid import Grid

SAME_VOX = 0.05
"""Voxels by which two grids may differ through the rounding of their files."""


def check_pair(image: Grid, label: Grid) -> list[Finding]:
    """What keeps two grids of one case apart, a single finding or none.

    Args:
        image: the grid that is taken for right.
        label: the grid of the label map, or of another channel.

    Returns:
        GEO-MISMATCH with the displacement of the corner voxels in mm, or with the two shapes.
    """
    if image.shape != label.shape:
        sizes = [" x ".join(map(str, grid.shape)) for grid in (image, label)]
        message = f"The image has {sizes[0]} voxels, the other file {sizes[1]}."
        return [finding("GEO-MISMATCH", message, image=sizes[0], other=sizes[1])]
    voxels, mm = image.displacement_vox(label), image.displacement_mm(label)
    if voxels <= SAME_VOX:
        return []
    message = f"The corner voxels lie up to {mm:.3g} mm ({voxels:.3g} voxels) from the image's."
    advice = "Resample one onto the other's grid, or accept GEO-MISMATCH to take voxel for voxel."
    return [finding("GEO-MISMATCH", message, advice=advice, mm=mm, voxels=voxels)]
