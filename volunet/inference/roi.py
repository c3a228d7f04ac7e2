"""A region of interest: the box around a mask, or around structures that a quick look finds.

Only the box, grown by a quarter of a window on each side, is looked at as hard as ever; labels
outside it are background. Structures that are asked for by name are kept, and no others.

The quick look takes the fewest windows that cover the scan, side by side and unmirrored. Whatever
it takes for a structure is in the box, be it a speck: that costs time, and loses no part.
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
from volunet.space.box import Box
from volunet.space.labels import Labels


@dataclass(frozen=True)
class Structures:
    """What is asked for by name.

    Args:
        names: of structures, or of regions that unite some.
        values: label values of all of them.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]

    @classmethod
    def named(cls, names: Sequence[str], labels: Labels) -> Structures:
        """The structures of these names.

        Raises:
            ConfigError: the model has none of a name.
        """
        known = {name: (value,) for name, value in labels.structures.items()} | labels.regions
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                f"The model finds no {', '.join(map(repr, unknown))}; it finds {', '.join(known)}."
            )
        return cls(tuple(names), tuple(sorted({v for name in names for v in known[name]})))

    @property
    def key(self) -> str:
        """Text that is the same for what is asked for alike."""
        return f"structures {self.values}"

    def find(
        self, labelling: Labelling, effort: Effort, labels: Labels
    ) -> tuple[Box | None, tuple[Finding, ...]]:
        """The box around all of them on the prepared scan's grid, and which were not found.

        Args:
            labelling: of the prepared scan, by as many networks as the quick look takes.

        Returns:
            None where not one was found.
        """
        grid = labelling.view.seen.grid
        index = replace(labelling, native=grid).run(effort.quick)
        numbers = [labels.values.index(value) + 1 for value in self.values]
        there = np.flatnonzero(np.bincount(index.ravel(), minlength=labels.classes))
        absent = [
            labels.name_of(value)
            for value, number in zip(self.values, numbers, strict=True)
            if number not in there
        ]
        message = "A quick look at the whole scan found no {}."
        found = [finding("ROI-ABSENT", message.format(name), structure=name) for name in absent]
        return Box.around(np.isin(index, numbers)), tuple(found)

    def keep(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Label values, of these structures alone."""
        return np.where(np.isin(labels, self.values), labels, np.zeros(1, dtype=labels.dtype))


Roi = Structures | Place
"""What `Segmenter.only` takes."""
