"""A region of interest: the box around a mask, or around structures that a quick look finds.

Only the box, grown by a quarter of a window on each side, is looked at as hard as ever; labels
outside it are background. Structures that are asked for by name are kept, and no others.

The quick look takes the fewest windows that cover the scan, side by side and unmirrored. Of what it
takes for a structure, parts are specks that have less than `SPECK` of the least volume that the
structure had in any training scan; these are left out of the box, if there are other parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.errors import ConfigError
from volunet.findings import Finding, finding
from volunet.inference.effort import Effort
from volunet.inference.labelling import Labelling
from volunet.inference.place import Place
from volunet.planning.fingerprint import Fingerprint
from volunet.space.box import Box
from volunet.space.labels import Labels
from volunet.space.lookup import index_map
from volunet.space.runs import Runs

SPECK = 0.01


@dataclass(frozen=True)
class Structures:
    """What is asked for by name.

    Args:
        values: label values of all of them.
        specks_ml: volume below which a part of each is a speck.
    """

    values: tuple[int, ...]
    specks_ml: tuple[float, ...]

    @classmethod
    def named(cls, names: Sequence[str], labels: Labels, fingerprint: Fingerprint) -> Structures:
        """The structures, or all that are united in regions, of these names.

        Raises:
            ConfigError: the model has none of a name, or no name was given.
        """
        if not names:
            raise ConfigError("A region of interest needs the name of one structure at least.")
        known = {name: (value,) for name, value in labels.structures.items()} | labels.regions
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                f"The model finds no {', '.join(map(repr, unknown))}; it finds {', '.join(known)}."
            )
        values = tuple(sorted({v for name in names for v in known[name]}))
        return cls(values, tuple(SPECK * _least_ml(labels.name_of(v), fingerprint) for v in values))

    @property
    def key(self) -> str:
        """Text that is the same for what is asked for alike."""
        return f"structures {self.values}"

    def find(
        self, labelling: Labelling, effort: Effort, labels: Labels
    ) -> tuple[Box | None, Structures, tuple[Finding, ...]]:
        """The box around those that are found, on the prepared scan's grid; these; and the others.

        Args:
            labelling: of the prepared scan, by as many networks as the quick look takes.

        Returns:
            None where not one was found.
        """
        grid = labelling.view.seen.grid
        index = replace(labelling, native=grid).run(effort.quick)
        around, seen, absent = list[Box](), list[tuple[int, float]](), list[Finding]()
        for value, speck_ml in zip(self.values, self.specks_ml, strict=True):
            runs = _runs_of(index, value, labels)
            large = int(np.count_nonzero(runs.sizes * grid.voxel_ml >= speck_ml))
            box = runs.pick(runs.parts < (large or len(runs.sizes))).box
            if box is None:
                name = labels.name_of(value)
                message = f"A quick look at the whole scan found no {name}."
                absent.append(finding("ROI-ABSENT", message, structure=name))
            else:
                around.append(box)
                seen.append((value, speck_ml))
        found = Structures(tuple(v for v, _ in seen), tuple(ml for _, ml in seen))
        if not around:
            return None, found, tuple(absent)
        low = (min(sides) for sides in zip(*(box.start for box in around), strict=True))
        high = (max(sides) for sides in zip(*(box.stop for box in around), strict=True))
        return Box(tuple(low), tuple(high)), found, tuple(absent)

    def find_cut(self, index: NDArray[Any], labelling: Labelling) -> tuple[Finding, ...]:
        """Which structures reach the edge of what was looked at, inside the scan.

        Args:
            index: (I, J, K) class indices on the scan's own grid, by `labelling`.
        """
        view, labels = labelling.view, labelling.plan.labels
        across = index_map(view.seen.grid, labelling.native)
        step = np.abs(across[:3, :3]).max(axis=1)  # to the next voxel
        low, high = np.array(view.reach).T
        low = np.where(low + 0.5 + view.box.start > 0, low, -np.inf)
        high = np.where(high + 0.5 + view.box.start < view.whole, high, np.inf)
        cut = []
        for value in self.values:
            ends = _runs_of(index, value, labels).ends @ across[:3, :3].T + across[:3, 3]
            if (ends - step < low).any() or (ends + step >= high).any():
                name = labels.name_of(value)
                message = f"{name} reaches the edge of the box that was looked at."
                cut.append(finding("ROI-CUT", message, structure=name))
        return tuple(cut)


Roi = Structures | Place
"""What `Segmenter.only` takes."""


def _least_ml(name: str, fingerprint: Fingerprint) -> float:
    """The least volume of a structure in the training scans that show it; 0 where none is known."""
    volumes = (case.volumes_ml.get(name, 0.0) for case in fingerprint.cases.values())
    return min((ml for ml in volumes if ml), default=0.0)


def _runs_of(index: NDArray[Any], value: int, labels: Labels) -> Runs:
    """The voxels of a structure in a map of class indices."""
    place = labels.values.index(value) + 1
    return Runs.where(index, lambda classes: classes == place)
