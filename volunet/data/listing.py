"""Files below a folder, and the channels that their names stand for.

Hidden files and folders (".DS_Store", the "._*" files of archives made on a Mac) are nobody's
scans and are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from volunet.errors import DatasetError
from volunet.io.itk_headers import voxels_beside
from volunet.io.names import suffix

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})", re.DOTALL)
"""nnU-Net's naming of one channel: the case, an underscore and four digits, from 0000 up."""

VOXELS = (".raw", ".zraw", ".img")
"""Endings of the voxels whose header is a file of its own."""


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


def without_voxel_files(files: Iterable[Path]) -> list[Path]:
    """The files without those that hold the voxels of a header (.mhd, .hdr) beside them."""
    files = list(files)
    headers = [path for path in files if suffix(path) in (".mhd", ".hdr")]
    stems = {path.with_suffix("") for path in headers}
    beside = set(map(_beside, headers))
    return [
        path
        for path in files
        if path not in beside
        and (path.suffix.lower() not in VOXELS or path.with_suffix("") not in stems)
    ]


def _beside(header: Path) -> Path | None:
    """The file that a header says its voxels lie in, whatever it is called."""
    try:
        return voxels_beside(header)
    except OSError:
        return None


def split_channel(name: str) -> tuple[str, int] | None:
    """The case and the channel in nnU-Net's naming, or None where a name does not follow it."""
    match = CHANNEL.fullmatch(name)
    return (match["case"], int(match["channel"])) if match else None
