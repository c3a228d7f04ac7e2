"""Which prediction belongs to which reference: files of two folders, matched by case id.

A case id is a file's path below its folder without the suffix, with `__` for each folder in it, as
`predict` names its files. Those that are no scans (tables), hidden ones and pictures that are views
of volumes are passed by; unless what is no view is all that there is for a reference, so that its
case is refused and not told as missing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volunet.errors import ConfigError
from volunet.findings import Refused, finding
from volunet.io.listing import list_files
from volunet.io.names import composed, id_below, is_picture, named_as_scans, stem, suffix

log = logging.getLogger(__name__)

MASK_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".tiff", ".bmp")
VALUE_SUFFIXES = (*MASK_SUFFIXES, ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of one case.

    Args:
        reference: the mask drawn by hand, or the values that are right.
        prediction: what is to be scored, None where there is none.
    """

    case_id: str
    reference: Path
    prediction: Path | None


def pair_masks(predictions: Path, references: Path) -> list[Pair]:
    """Every reference mask with its prediction, sorted by case id.

    Raises:
        ConfigError: a folder is not there, or a prediction has no reference.
        Refused: SET-EMPTY where there is no reference, SET-DUPLICATE-ID where two files of a folder
            have one case id.
    """
    return _pair(predictions, references, MASK_SUFFIXES)


def pair_values(predictions: Path, references: Path) -> list[Pair]:
    """The same of scans and pictures that hold values; JPEG, which keeps no mask, is among them.

    Raises:
        ConfigError: as `pair_masks`.
        Refused: as `pair_masks`.
    """
    return _pair(predictions, references, VALUE_SUFFIXES)


def find_masks(folder: Path) -> Mapping[str, Path]:
    """The masks below a folder by case id.

    Raises:
        ConfigError: it is not a folder.
        Refused: SET-DUPLICATE-ID where two files have one case id.
    """
    return _find(folder, MASK_SUFFIXES)


def _pair(predictions: Path, references: Path, suffixes: Sequence[str]) -> list[Pair]:
    predicted, right = _find(predictions, suffixes), _find(references, suffixes)
    gone = [p for p in list_files(references) if suffix(p) in suffixes and not p.exists()]
    if gone:
        told = (finding("IO-MISSING", "The link leads to nothing.").at(file=p.name) for p in gone)
        raise Refused(list(told))
    if not right:
        message = f"There is no file to score in {references}; known are {', '.join(suffixes)}."
        raise Refused([finding("SET-EMPTY", message, advice="Give the folder of references.")])
    predicted = _without_views(predicted, right)
    if strangers := sorted(predicted.keys() - right.keys()):
        raise ConfigError(
            f"{len(strangers)} of {len(predicted)} predictions have no reference: "
            f"{_some(strangers)}. References are called {_some(sorted(right))}. "
            f"Give both the same names, or move the others out of the predictions' folder."
        )
    lost = {case_id: path for case_id, path in right.items() if case_id not in predicted}
    found = _find_unusable(predictions, lost) | dict(predicted)
    return [Pair(case_id, right[case_id], found.get(case_id)) for case_id in sorted(right)]


def _without_views(predicted: Mapping[str, Path], right: Mapping[str, Path]) -> dict[str, Path]:
    """The predictions without pictures, unless the reference is one too.

    A picture without a reference stays, to be complained of, where any reference is a picture.
    """
    none_drawn = not any(map(is_picture, right.values()))
    views = {
        case_id: path
        for case_id, path in predicted.items()
        if is_picture(path) and (not is_picture(right[case_id]) if case_id in right else none_drawn)
    }
    _tell_passed(views.values())
    return {case_id: path for case_id, path in predicted.items() if case_id not in views}


def _tell_passed(views: Collection[Path]) -> None:
    if views:
        told = f"{len(views)}, such as {composed(min(views).name)!r}"
        log.warning("Pictures that are views of volumes are passed over: %s.", told)


def _find_unusable(folder: Path, lost: Mapping[str, Path]) -> dict[str, Path]:
    """Files that were passed by, for cases without another: JPEG, links to nothing, pipes.

    A picture is none for a case whose reference is a volume, but a view of it.

    Args:
        lost: the references of these cases.
    """
    files = [path for path in list_files(folder) if suffix(path) and stem(path)] if lost else []
    named = {id_below(folder, path): path for path in files}
    return {
        case_id: path
        for case_id, path in named.items()
        if case_id in lost and is_picture(path) <= is_picture(lost[case_id])
    }


def _find(folder: Path, suffixes: Sequence[str]) -> Mapping[str, Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder. Give a folder that holds one file a case.")
    found: dict[str, Path] = {}
    files = [path for path in list_files(folder) if _is_named(path, suffixes)]
    named = named_as_scans(files)
    _tell_passed(set(files).difference(named))
    for path in named:
        case_id = id_below(folder, path)
        if case_id in found:
            message = f"{path.name} and {found[case_id].name} are both case {case_id}."
            raise Refused([finding("SET-DUPLICATE-ID", message).at(case=case_id, file=path.name)])
        found[case_id] = path
    return found


def _is_named(path: Path, suffixes: Sequence[str]) -> bool:
    return suffix(path) in suffixes and bool(stem(path)) and path.is_file()


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
