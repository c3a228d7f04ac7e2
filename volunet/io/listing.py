"""Files below a folder, links followed.

Hidden files and folders (".DS_Store", the "._*" files of archives made on a Mac) are nobody's
scans and are passed over.
"""

from __future__ import annotations

import os
from pathlib import Path

from volunet.errors import DatasetError


def list_files(folder: Path, *, unlisted: list[Path] | None = None) -> list[Path]:
    """All files below a folder that are not hidden, sorted; links are followed, each folder once.

    Args:
        unlisted: takes the folders below that cannot be listed; an error without it.

    Raises:
        DatasetError: a folder cannot be listed.
    """

    def give_up(error: OSError) -> None:
        place = Path(error.filename or folder)
        if unlisted is None or place == folder:
            raise DatasetError(f"{place} cannot be listed: {error.strerror}.") from error
        if not isinstance(error, FileNotFoundError):  # as of a folder that was there for a moment
            unlisted.append(place)

    seen: set[str] = set()
    files: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=give_up, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [f for f in folders if not f.startswith(".")]
        if real not in seen:
            files += [Path(place, name) for name in names if not name.startswith(".")]
        seen.add(real)
    return sorted(files)
