"""Names of scan files: the suffixes volunet knows, and the case id that is left without them.

Ids are in Unicode's composed form (NFC), so that one name typed on two systems is one id.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Set
from pathlib import Path

NUMBERED = re.compile(r"_\d{4}$")
"""The end of a name that says a channel, as nnU-Net has it."""
PICTURES = (".png", ".tiff", ".tif", ".jpeg", ".jpg", ".bmp")
"""Endings of plain pictures."""
PNG_CHANNELS = (1, 3)
"""Channels that a PNG takes."""

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".hdr", *PICTURES)
"""Endings of scan files; ".hdr" is known so that it can be refused with advice."""


def suffix(path: str | os.PathLike[str]) -> str:
    """The known ending of a file's name in small letters, "" where it has none."""
    name = Path(path).name.lower()
    return next((known for known in SUFFIXES if name.endswith(known)), "")


def is_dicom(path: Path) -> bool:
    """Whether a file is called as DICOM is, which not always begins as it should."""
    return path.suffix.lower() in (".dcm", ".ima") or path.name == "DICOMDIR"


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as that of a plain picture."""
    return suffix(path) in PICTURES


def named_as_scans(paths: Iterable[Path]) -> list[Path]:
    """The files that are named as scans, without pictures that are views of a volume.

    A view is what somebody made of a volume for a report: it lies beside that one, and is called
    as it is, with or without more words: "a.png" and "a_axial.png" beside "a.nii.gz", or beside
    "a_0000.nii.gz", which is a channel of it.
    """
    named = [path for path in paths if suffix(path)]
    volumes = {
        (path.parent, name)
        for path in named
        if not is_picture(path)
        for name in (stem(path), NUMBERED.sub("", stem(path)))
    }
    return [path for path in named if not (is_picture(path) and _is_view(path, volumes))]


def _is_view(picture: Path, volumes: Set[tuple[Path, str]]) -> bool:
    """Whether a picture's name is that of a volume in its folder, up to the end of a word."""
    name = stem(picture)
    ends = (n for n in range(1, len(name) + 1) if not name[n : n + 1].isalnum())
    return any((picture.parent, name[:end]) in volumes for end in ends)


def composed(name: str) -> str:
    """A name in Unicode's composed form, which is how ids are compared and written.

    Bytes that are no UTF-8, which a file's name may hold, become the replacement character.
    """
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def stem(path: str | os.PathLike[str]) -> str:
    """The case id: the file's name without its known ending, composed.

    Other dots stay: "a.b.c.nii.gz" is the case "a.b.c".
    """
    name = Path(path).name
    return composed(name[: len(name) - len(suffix(name))])


def id_below(folder: Path, path: Path) -> str:
    """The case id of a file: its path below `folder` without suffix, with "__" between folders."""
    return composed("__".join((*path.relative_to(folder).parent.parts, stem(path))))


def can_name_a_file(case_id: str) -> bool:
    """Whether files can be called by this id: no part of a path, and nothing that cannot be seen.

    An empty id cannot.
    """
    is_path = case_id in ("", ".", "..") or any(sign in case_id for sign in "/\\")
    return not is_path and case_id.isprintable()
