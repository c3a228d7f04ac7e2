"""Tidying a label map, structure by structure: stray parts go, holes are filled.

What is done is data, stands in the model, and was chosen on held-out cases; without it nothing is
done. The order is fixed:

1. Of each structure the largest part is kept, or the parts from a volume on. What goes becomes
   background.
2. Then the holes of each structure are filled, with what went before counted as background: a speck
   of the spleen inside the liver becomes liver, where both steps are asked for. A hole is
   background from which no way leads out of the structure, and which touches it. Other structures
   inside stay as they are, and so does a hole of theirs: it touches them alone. The rare hole
   that is two structures' goes to the one with the lower value.

Parts and ways go by the faces of voxels. The border of the scan is outside: what is open there is
no hole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import find_objects

from volunet.config import Settings
from volunet.errors import LabelError
from volunet.space.labels import Labels
from volunet.space.runs import Runs


class Steps(Settings):
    """What is done to one structure.

    Args:
        largest: keep the largest part alone.
        dust_ml: volume below which a part is removed; 0 removes none.
        holes: fill what the structure encloses.
    """

    largest: bool = False
    dust_ml: Annotated[float, Field(ge=0)] = 0.0
    holes: bool = False

    def __str__(self) -> str:
        said = ["largest part"] if self.largest else []
        said += [f"no parts below {self.dust_ml:g} ml"] if self.dust_ml else []
        said += ["holes filled"] if self.holes else []
        return ", ".join(said) or "nothing"

    def __bool__(self) -> bool:
        return self != Steps()

    @property
    def removes(self) -> bool:
        """Whether parts may go."""
        return self.largest or self.dust_ml > 0

    def kept(self, sizes_vox: NDArray[np.int64], voxel_ml: float) -> int:
        """How many parts stay, of parts with these voxels, largest first."""
        # A part of exactly the volume stays, whatever the last digits of a voxel's volume.
        large = sizes_vox * voxel_ml >= self.dust_ml * (1 - 1e-9)
        return min(int(np.count_nonzero(large)), 1 if self.largest else len(sizes_vox))


class Gain(Settings):
    """What tidying a structure changed on cases that the network was not trained on.

    Args:
        cases: where the structure is in the reference or was found.
        before: mean Dice as found.
        after: mean Dice when tidied.
    """

    cases: int
    before: float
    after: float

    def __str__(self) -> str:
        return f"Dice {self.before:.4f} to {self.after:.4f} on {self.cases} held-out cases"


class Tidy(Settings):
    """What is done to each structure, by its name; nothing to those that are not named.

    Args:
        structures: what is done.
        gains: what it gave on held-out cases, where that is known.
    """

    structures: dict[str, Steps] = Field(default_factory=dict)
    gains: dict[str, Gain] = Field(default_factory=dict)

    def say(self, name: str) -> str:
        """What is done to a structure, and what it gave."""
        gain = self.gains.get(name)
        return f"{self.structures[name]}{'' if gain is None else f' ({gain})'}"

    def __bool__(self) -> bool:
        return any(self.structures.values())


UNTIDIED = Tidy()


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was changed of a structure."""

    removed_vox: int = 0
    filled_vox: int = 0

    def in_ml(self, voxel_ml: float) -> dict[str, float]:
        """The same in ml."""
        return {"removed": self.removed_vox * voxel_ml, "filled": self.filled_vox * voxel_ml}


def tidy_labels(
    index: NDArray[Any], wanted: Tidy, labels: Labels, *, voxel_ml: float
) -> Mapping[str, Tidied]:
    """Tidies a map of class indices in place.

    The memory beyond the map is that of the structures' surfaces: some 100 bytes for each line of
    voxels that passes a structure's box.

    Args:
        index: (I, J, K) as `Labels.to_index` gives it.
        voxel_ml: volume of a voxel.

    Returns:
        What was changed, by the name of each structure that `wanted` names.

    Raises:
        LabelError: `wanted` names a structure that `labels` does not.
    """
    if unknown := sorted(set(wanted.structures) - set(labels.names)):
        raise LabelError(f"Tidying is for {unknown}, and the structures are {labels.names}.")
    removed = {
        name: _remove(part, number, wanted.structures[name], voxel_ml)
        for name, number, part in _parts(index, wanted, labels)
        if wanted.structures[name].removes
    }
    filled = {
        name: _fill(part, number)  # its box is cut anew, as far specks are gone by now
        for name, number, part in _parts(index, wanted, labels)
        if wanted.structures[name].holes
    }
    return {name: Tidied(removed.get(name, 0), filled.get(name, 0)) for name in wanted.structures}


def _parts(
    index: NDArray[Any], wanted: Tidy, labels: Labels
) -> Iterator[tuple[str, int, NDArray[Any]]]:
    """Each structure that something is done to: its name, its index, and the map around it."""
    if not wanted:
        return
    places = find_objects(index, max_label=labels.classes - 1)
    for number, (name, place) in enumerate(zip(labels.names, places, strict=True), start=1):
        if name in wanted.structures and place is not None:
            yield name, number, index[place]


def find_holes(structure: Runs, others: Runs) -> Runs:
    """The background that a structure encloses and that touches it.

    Args:
        others: all other structures, in the same box.
    """
    around = structure.outside()
    leads_out = np.zeros(len(around.sizes), dtype=bool)
    leads_out[around.parts[around.at_border()]] = True
    enclosed = around.pick(~leads_out[around.parts])
    if not len(enclosed):
        return enclosed
    free = structure.joined(others).outside()
    free = free.pick(free.shared(enclosed) > 0)
    touches = np.zeros(len(free.sizes), dtype=bool)
    touches[free.parts[free.touching(structure)]] = True
    return free.pick(touches[free.parts])


def _remove(part: NDArray[Any], number: int, steps: Steps, voxel_ml: float) -> int:
    structure = Runs.where(part, lambda block: block == number)
    gone = structure.pick(structure.parts >= steps.kept(structure.sizes, voxel_ml))
    gone.write(0, part)
    return gone.voxels


def _fill(part: NDArray[Any], number: int) -> int:
    structure = Runs.where(part, lambda block: block == number)
    others = Runs.where(part, lambda block: (block != 0) & (block != number))
    holes = find_holes(structure, others)
    holes.write(number, part)
    return holes.voxels
