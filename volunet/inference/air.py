"""Where in a scan there can be anything to find, by what the model was trained on.

Two kinds of voxels are air. In channels of absolute units (CT) those below a level half-way between
the air of the training scans and the dark end of the training foreground, of which at most 5 % may
be darker. In all other channels only padding: the scan's lowest value, exactly, and only where at
most 0.1 % of any training scan's foreground had that scan's lowest value. A voxel is air if it is
so in every channel.

Air is looked for on a lattice of about 4 mm, so whatever is at least 8 mm thick is found; in scans
of voxels below 0.4 mm (of small animals, of specimens) the lattice is one of ten voxels. What is
found must hold together: a part counts where at least `SUPPORT` of the 27 lattice points around one
of its points are no air, which specks of noise are not. Air that is closed in by the body within a
plane of the grid, such as lungs, is not left out, however dark.

So every window that shows a voxel of the body, or of what lies within reach of it, is looked at,
and the logits of these voxels do not change when the others are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volunet.planning.any_plan import AnyPlan
from volunet.planning.fingerprint import Fingerprint
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.lattice import cell_size, lattice_step
from volunet.space.picture import is_picture
from volunet.space.volume import Volume

SUPPORT = 4
MARGIN_MM = 8.0
"""What a crop keeps around the body, beyond the reach of the lattice."""
AIR_HU = -1000.0
"""Of CT; what lies below is padding."""
DARK_SHARE = 0.05
"""Of the training foreground that may be darker than the dark end."""
ABSOLUTE = ("set", "ct")
"""Schemes of channels in absolute units."""


@dataclass(frozen=True)
class Cells:
    """The parts of a grid where there can be anything to find, in cells of a few voxels.

    Args:
        taken: (I, J, K), one for each cell.
        cell: voxels of a cell along each axis.
        shape: of the grid.
    """

    taken: NDArray[np.bool_]
    cell: tuple[int, int, int]
    shape: tuple[int, int, int]

    def touch(self, box: Box) -> bool:
        """Whether a box of the grid's voxels holds any of it."""
        low = [a // c for a, c in zip(box.start, self.cell, strict=True)]
        high = [-(-b // c) for b, c in zip(box.stop, self.cell, strict=True)]
        (a, b, c), (i, j, k), s = low, high, self._sums
        upper = s[i, j, k] - s[a, j, k] - s[i, b, k] + s[a, b, k]
        return bool(upper - (s[i, j, c] - s[a, j, c] - s[i, b, c] + s[a, b, c]))

    def box(self, margin_vox: tuple[int, int, int]) -> Box | None:
        """The voxels around all of it; None where it is empty."""
        around = Box.around(self.taken)
        if around is None:
            return None
        ends = zip(around.start, around.stop, self.cell, margin_vox, self.shape, strict=True)
        sides = [(max(a * c - m, 0), min(b * c + m, n)) for a, b, c, m, n in ends]
        return Box(tuple(a for a, _ in sides), tuple(b for _, b in sides))

    @cached_property
    def _sums(self) -> NDArray[np.int32]:
        """How many cells are taken before each corner; there are fewer than 2^31."""
        sums = np.zeros([n + 1 for n in self.taken.shape], dtype=np.int32)
        inner = sums[1:, 1:, 1:]
        np.cumsum(self.taken, axis=0, out=inner)
        for axis in (1, 2):
            np.cumsum(inner, axis=axis, out=inner)
        return sums


@dataclass(frozen=True)
class Body:
    """What is no air in a scan.

    Args:
        lattice: (I, J, K), some of the scan's voxels; one at least is no air.
        scan: grid of all of them.
        step: voxels from one point of the lattice to the next, along each axis.
    """

    lattice: NDArray[np.bool_]
    scan: Grid
    step: tuple[int, int, int]

    def on(self, grid: Grid) -> Cells:
        """The cells of a grid that lie within reach: a step of the lattice, and a voxel more."""
        spacing = np.array(grid.spacing)
        cell = np.array(cell_size(grid))
        count = -(-np.array(grid.shape) // cell)
        step_mm = float(np.max(np.array(self.step) * self.scan.spacing))
        reach = np.ceil((step_mm + spacing.max()) / (cell * spacing)).astype(int)
        taken = np.zeros(count + 2 * reach, dtype=np.uint8)
        for plane, inside in enumerate(self.lattice):  # all points at once would take gigabytes
            index = np.insert(np.argwhere(inside), 0, plane, axis=1) * self.step
            at = grid.to_index(self.scan.to_world(index))
            at = np.floor((at + 0.5) / cell).astype(int) + reach
            at = at[((at >= 0) & (at < count + 2 * reach)).all(axis=1)]
            taken[tuple(at.T)] = 1
        taken = ndimage.maximum_filter(taken, size=tuple(2 * reach + 1))
        own = taken[tuple(slice(r, r + n) for r, n in zip(reach, count, strict=True))] > 0
        found = own.copy()
        for axis in range(3):
            found |= _closed_in(own, axis)
        a, b, c = cell.tolist()
        return Cells(found, (a, b, c), grid.shape)


def find_body(scan: Volume, plan: AnyPlan, fingerprint: Fingerprint) -> Body | None:
    """What is no air in a scan (C, I, J, K) with the plan's channels.

    Returns:
        None where the model's training set does not tell what air is, or where all of the scan
        would be air, which no scan of anything is: then everything should be looked at. So it is
        with plain pictures, whose pixels have no size in mm: lines of a pixel would be missed.
    """
    if is_picture(scan.grid):
        return None
    allowed = [air_level(plan, fingerprint, channel) for channel in range(scan.channels)]
    if None in allowed:
        return None
    turned = scan.reoriented("RAS")
    i, j, k = step = lattice_step(turned.grid)
    lattice = turned.voxels[:, ::i, ::j, ::k]
    no_air = np.zeros(lattice.shape[1:], dtype=np.bool_)
    for seen, voxels, level in zip(lattice, scan.voxels, allowed, strict=True):
        assert level is not None, "asked above"
        no_air |= seen > (voxels.min() if level == -np.inf else level)
    _remove_specks(no_air)
    return Body(no_air, turned.grid, step) if no_air.any() else None


def air_level(plan: AnyPlan, fingerprint: Fingerprint, channel: int) -> float | None:
    """The value up to which a voxel is air for a model.

    Returns:
        -inf where the scan's lowest value alone is air; None where not even that is known to be.
    """
    intensity = plan.intensities[channel]
    known = [case.channels[channel] for case in fingerprint.cases.values() if case.channels]
    labelled = [facts for facts in known if facts.count]
    if intensity.scheme not in ABSOLUTE:
        apart = all(facts.foreground[1] > facts.image[0] for facts in labelled)
        return -np.inf if labelled and apart else None
    if labelled:
        dark = fingerprint.foreground_quantile(channel, DARK_SHARE)
        air = max(fingerprint.image_range(channel)[0], AIR_HU)
    else:
        dark, air = float(intensity.low or 0), AIR_HU
    return (air + dark) / 2 if air < dark else None


def margin_vox(grid: Grid) -> tuple[int, int, int]:
    """`MARGIN_MM` in voxels of a grid, rounded up."""
    a, b, c = (ceil(MARGIN_MM / mm) for mm in grid.spacing)
    return a, b, c


def _remove_specks(mask: NDArray[np.bool_]) -> None:
    """Leaves the parts of a mask, connected by corners, that are thick somewhere.

    It takes up to `planning.foresight.LATTICE_BYTES` a point, the mask included.
    """
    around = mask.view(np.uint8)
    for axis in range(3):
        around = ndimage.correlate1d(around, (1, 1, 1), axis, output=np.uint8, mode="nearest")
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    thick = np.zeros(count + 1, dtype=np.bool_)
    for inside, near, part in zip(mask, around, parts, strict=True):
        thick[part[inside & (near >= SUPPORT)]] = True
    for inside, part in zip(mask, parts, strict=True):
        inside &= thick[part]


def _closed_in(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """What a mask closes in within each plane across an axis."""
    within = ndimage.generate_binary_structure(3, 1)
    within[(slice(None),) * axis + ([0, 2],)] = False
    parts, count = ndimage.label(~mask, within)
    outside = np.zeros(count + 1, dtype=np.bool_)
    for other in {0, 1, 2} - {axis}:
        for edge in (0, -1):
            outside[np.take(parts, edge, axis=other)] = True
    outside[0] = True
    return np.asarray(~outside[parts])
