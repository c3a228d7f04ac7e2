"""Files below a folder, and the channels that their names stand for.

Hidden files and folders (".DS_Store", the "._*" files of archives made on a Mac) are nobody's
scans and are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from volunet.io.itk_headers import voxels_beside
from volunet.io.names import suffix

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})", re.DOTALL)
"""nnU-Net's naming of one channel: the case, an underscore and four digits, from 0000 up."""

VOXELS = (".raw", ".zraw", ".img")
"""Endings of the voxels whose header is a file of its own."""


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
