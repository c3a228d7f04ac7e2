"""Which prediction belongs to which reference: files of two folders, matched by case id.

A case id is a mask's path below its folder without the suffix, with `__` for each folder in it, as
`predict` names its masks. Files that are no masks (tables), hidden ones and pictures beside volumes
are passed by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from volunet.errors import ConfigError
from volunet.findings import Refused, finding
from volunet.io.names import id_below, named_as_scans, stem, suffix

MASK_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of one case.

    Args:
        reference: the mask drawn by hand.
        prediction: the mask to be scored, None where there is none.
    """

    case_id: str
    reference: Path
    prediction: Path | None


def pair_masks(predictions: Path, references: Path) -> list[Pair]:
    """Every reference with its prediction, sorted by case id.

    Raises:
        ConfigError: a folder is not there, or a prediction has no reference.
        Refused: SET-EMPTY where there is no reference, SET-DUPLICATE-ID where two files of a folder
            have one case id.
    """
    predicted, drawn = find_masks(predictions), find_masks(references)
    if not drawn:
        message = f"There is no mask in {references}; known are {', '.join(MASK_SUFFIXES)}."
        raise Refused([finding("SET-EMPTY", message, advice="Give the folder of reference masks.")])
    if strangers := sorted(predicted.keys() - drawn.keys()):
        raise ConfigError(
            f"{len(strangers)} of {len(predicted)} predictions have no reference: "
            f"{_some(strangers)}. References are called {_some(sorted(drawn))}. "
            f"Give both the same names, or move the others out of the predictions' folder."
        )
    return [Pair(case_id, drawn[case_id], predicted.get(case_id)) for case_id in sorted(drawn)]


def find_masks(folder: Path) -> Mapping[str, Path]:
    """The masks below a folder by case id.

    Raises:
        ConfigError: it is not a folder.
        Refused: SET-DUPLICATE-ID where two files have one case id.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder. Give a folder of masks, one file a case.")
    found: dict[str, Path] = {}
    masks = [path for path in sorted(folder.rglob("*")) if _is_mask(path, folder)]
    for path in named_as_scans(masks):
        case_id = id_below(folder, path)
        if case_id in found:
            message = f"{path.name} and {found[case_id].name} are both case {case_id}."
            raise Refused([finding("SET-DUPLICATE-ID", message).at(case=case_id, file=path.name)])
        found[case_id] = path
    return found


def _is_mask(path: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    is_named = suffix(path) in MASK_SUFFIXES and bool(stem(path))
    return is_named and not is_hidden and path.is_file()


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
