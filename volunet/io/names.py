"""Names of scan files: the suffixes volunet knows, and the case id that is left without them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".hdr")
"""Endings of scan files; ".hdr" is known so that it can be refused with advice."""


def suffix(path: str | os.PathLike[str]) -> str:
    """The known ending of a file's name in small letters, "" where it has none."""
    name = Path(path).name.lower()
    return next((known for known in SUFFIXES if name.endswith(known)), "")


def stem(path: str | os.PathLike[str]) -> str:
    """The case id: the file's name without its known ending, in Unicode's composed form (NFC).

    Other dots stay: "a.b.c.nii.gz" is the case "a.b.c".
    """
    name = Path(path).name
    return unicodedata.normalize("NFC", name[: len(name) - len(suffix(name))])
