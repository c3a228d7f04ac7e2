"""What the whole numbers in a label map mean: names, values, colours, regions, pairs.

Files may use any whole numbers from 0 up; inside, classes are counted 0 (background), 1, 2, ... in
the order of their values, and the ignore value, where there is one, comes last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from volunet.config import Settings
from volunet.errors import LabelError
from volunet.space.picture import MOST_INDEX
from volunet.space.sides import pair_by_names, says_side

# Okabe and Ito's palette, told apart by colour-blind readers, with a brown for their black.
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#f0e442", "#0072b2", "#a6761d")
BACKGROUND, IGNORED, BLACK = "background", "ignore", "#000000"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
CHUNK = 1 << 20
"""Voxels that are looked up at a time."""


class Labels(Settings):
    """The structures of a label map.

    Args:
        structures: name to value; background (0) is understood and not listed.
        colours: name to "#rrggbb"; the others get one from a palette.
        pairs: structures that swap when left and right do, each in one pair at most.
        regions: name to the values it unites; regions may overlap, and a structure may be one too.
        ignore: the value of voxels that nobody judged.
        masks: what pictures of masks hold: "values", or the "colours" of the structures, each of
            which then has one; that of "background" is black, unless `colours` names it, and that
            of the ignore value is called "ignore".
    """

    structures: dict[str, int]
    colours: dict[str, str] = Field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    regions: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    ignore: int | None = None
    masks: Literal["values", "colours"] = "values"

    @field_validator("structures")
    @classmethod
    def _drop_background(cls, structures: dict[str, int]) -> dict[str, int]:
        kept = {name: value for name, value in structures.items() if value != 0}
        if any(value < 0 for value in kept.values()):
            raise ValueError("label values must be whole numbers from 0 up")
        if len(set(kept.values())) < len(kept):
            raise ValueError("two names have the same value")
        return dict(sorted(kept.items(), key=lambda item: item[1]))

    @model_validator(mode="after")
    def _know_what_is_named(self) -> Self:
        known, paired = (*self.names, *self.regions), [name for pair in self.pairs for name in pair]
        coloured = set(self.colours) - {BACKGROUND, IGNORED}
        if unknown := {*coloured, *paired} - set(known):
            raise ValueError(f"{sorted(unknown)} are not among the names {known}")
        if twice := set(self.unions) & set(self.names):
            raise ValueError(f"{sorted(twice)} name both a structure and a region of others")
        if wrong := {name for name in paired if paired.count(name) > 1 or name in self.unions}:
            raise ValueError(f"pairs are of two structures each, {sorted(wrong)} cannot be paired")
        if unknown_values := {v for r in self.regions.values() for v in r} - set(self.values):
            raise ValueError(f"regions use values {sorted(unknown_values)} that no structure has")
        if bad := [colour for colour in self.colours.values() if not COLOUR.fullmatch(colour)]:
            raise ValueError(f"colours are written #rrggbb, got {bad}")
        if self.ignore is not None and (self.ignore <= 0 or self.ignore in self.values):
            raise ValueError("the ignore value must be above 0 and belong to no structure")
        return self

    @model_validator(mode="after")
    def _tell_colours_apart(self) -> Self:
        if self.masks == "values":
            return self
        wanted = [*self.names, *([] if self.ignore is None else [IGNORED])]
        if missing := [name for name in wanted if name not in self.colours]:
            raise ValueError(f"masks in colours need a colour for each of {missing}")
        if high := [value for value in self.mask_colours if value > MOST_INDEX]:
            raise ValueError(
                f"masks in colours are written with a palette, which ends at {MOST_INDEX}, and "
                f"{high} are above; choose smaller values, as none is in the masks themselves"
            )
        told = [colour.lower() for colour in self.mask_colours.values()]
        if twice := sorted({colour for colour in told if told.count(colour) > 1}):
            raise ValueError(
                f"{twice} stand for two structures, or for one and the background; masks in "
                "colours need one for each"
            )
        return self

    @property
    def unions(self) -> dict[str, tuple[int, ...]]:
        """The regions that are not a structure of the same name."""
        alone = {(name, (value,)) for name, value in self.structures.items()}
        return {name: own for name, own in self.regions.items() if (name, own) not in alone}

    @property
    def learns_regions(self) -> bool:
        """Whether a network can learn the regions: each writes one value, and no value is left."""
        try:
            return bool(self.written)
        except LabelError:
            return False

    @property
    def averaged(self) -> tuple[str, ...]:
        """What a mean score is over: regions where they can be learnt, else structures."""
        return tuple(self.regions) if self.learns_regions else self.names

    @property
    def sides(self) -> tuple[tuple[str, str], ...]:
        """Structures whose names differ by left and right alone, and that no pair declares."""
        return pair_by_names(self._unpaired)

    @property
    def single_sides(self) -> tuple[str, ...]:
        """Structures whose names say left or right in a word, and that have no partner."""
        named = {name for pair in self.sides for name in pair}
        return tuple(name for name in self._unpaired if name not in named and says_side(name))

    @property
    def tells_sides(self) -> bool:
        """Whether left and right are different labels, as pairs or names say."""
        return bool(self.pairs or self.sides or self.single_sides)

    @property
    def _unpaired(self) -> tuple[str, ...]:
        paired = {name for pair in self.pairs for name in pair}
        return tuple(name for name in self.names if name not in paired)

    @classmethod
    def of_values(cls, values: Iterable[int]) -> Labels:
        """Labels called by their values."""
        return cls(structures={str(int(v)): int(v) for v in sorted(set(values)) if v})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the structures, in the order of their values."""
        return tuple(self.structures)

    @property
    def values(self) -> tuple[int, ...]:
        """Values of the structures, ascending, without background."""
        return tuple(self.structures.values())

    @property
    def classes(self) -> int:
        """Number of classes a network tells apart, background included."""
        return len(self.structures) + 1

    @property
    def ignore_index(self) -> int | None:
        """The class index that stands for the ignore value: one past the classes."""
        return None if self.ignore is None else self.classes

    @property
    def written(self) -> tuple[int, ...]:
        """The value that each region writes, where later ones write over earlier ones.

        Raises:
            LabelError: a region does not leave exactly one value to itself, or a structure is left
                to none.
        """
        if self.structures and not self.regions:
            raise LabelError("The labels declare no regions that could be learnt.")
        unions = list(self.regions.values())
        left = [
            set(own) - {value for later in unions[place + 1 :] for value in later}
            for place, own in enumerate(unions)
        ]
        if any(len(values) != 1 for values in left) or len(left) != len(self.structures):
            told = {name: sorted(v) for name, v in zip(self.regions, left, strict=True)}
            raise LabelError(
                "Regions that are learnt run from large to small, and each leaves one value to "
                f"itself when the later ones are taken away; these leave {told}, and the "
                f"structures are {self.structures}. Order them so, or learn structures instead."
            )
        return tuple(value for values in left for value in values)

    @property
    def mask_colours(self) -> dict[int, str]:
        """The colour of each value in pictures of masks; {} where those hold the values."""
        if self.masks == "values":
            return {}
        told = {0: self.colours.get(BACKGROUND, BLACK)}
        told |= {value: self.colours[name] for name, value in self.structures.items()}
        return told if self.ignore is None else told | {self.ignore: self.colours[IGNORED]}

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every value."""
        return np.min_scalar_type(max((*self.values, self.ignore or 0, 1)))

    def name_of(self, value: int) -> str:
        """The name of a value.

        Raises:
            LabelError: no structure has this value.
        """
        for name, known in self.structures.items():
            if known == value:
                return name
        raise LabelError(f"No label has the value {value}; known are {self.structures}.")

    def colour_of(self, name: str) -> str:
        """The colour of a structure or region as "#rrggbb", from the palette where none was given.

        Raises:
            LabelError: nothing has this name.
        """
        known = (*self.names, *self.regions)
        if name not in known:
            raise LabelError(f"No label is called {name!r}; known are {known}.")
        return self.colours.get(name) or PALETTE[known.index(name) % len(PALETTE)]

    def to_index(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """Class indices of label values, in the smallest unsigned type.

        Args:
            voxels: any shape, whole numbers.

        Raises:
            LabelError: a value that no structure has.
        """
        meaning = {value: index for index, value in enumerate((0, *self.values))}
        if self.ignore is not None:
            meaning[self.ignore] = self.classes
        known = np.array(sorted(meaning))
        kind = np.min_scalar_type(self.classes)
        index = np.array([meaning[value] for value in known.tolist()], dtype=kind)
        flat, unknown = np.ascontiguousarray(voxels).reshape(-1), set[int]()
        found = np.empty(flat.shape, dtype=kind)
        for start in range(0, flat.size, CHUNK):  # places take eight bytes a voxel
            part = flat[start : start + CHUNK]
            places = np.searchsorted(known, part).clip(max=len(known) - 1)
            unknown |= set(part[known[places] != part].tolist())
            found[start : start + CHUNK] = index[places]
        if unknown:
            raise LabelError(
                f"The label map holds {sorted(unknown)[:8]}, which are not declared; known are "
                f"{self.structures}. Declare them in labels.json, or mend the map."
            )
        return found.reshape(voxels.shape)

    def to_values(
        self, index: NDArray[Any], *, only: Collection[int] | None = None
    ) -> NDArray[Any]:
        """Label values of class indices, in the smallest unsigned type that holds them all.

        Args:
            only: values of structures; the others become background.
        """
        ignored = () if self.ignore is None else (self.ignore,)
        known = (0, *self.values, *ignored)
        kept = (value if only is None or value in only else 0 for value in known)
        table = np.fromiter(kept, dtype=self.dtype, count=len(known))
        return np.asarray(table[index])
