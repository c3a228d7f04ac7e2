"""What files and arrays hold, as SHA-256: equal contents have equal sums, whatever the names."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.data.cases import Case
from volunet.findings import Finding, Refused, finding
from volunet.io.itk_headers import voxels_beside
from volunet.io.opening import NotAFileError, open_file

SETTLED_S = 3.0
"""A file that changed more lately may change again without its times telling: they are coarse."""


def sum_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: the file is missing, cannot be read, or is no file.
    """
    facts = path.stat()
    if time.time() - max(facts.st_mtime, facts.st_ctime) < SETTLED_S:
        return _read_sum(path)
    times = facts.st_mtime_ns, facts.st_ctime_ns
    return _known_sum(path, facts.st_size, *times, facts.st_ino, facts.st_dev)


@lru_cache(maxsize=2**16)
def _known_sum(path: Path, *_facts: int) -> str:
    """A file is read once in the life of a process, unless what the system says of it changes."""
    return _read_sum(path)


def _read_sum(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_of_files(paths: Iterable[Path]) -> str:
    """The SHA-256 of the sums of some files' bytes, in their order, in hex.

    The voxels that a MetaImage header keeps in a file beside it count as well.

    Raises:
        Refused: a file is missing (IO-MISSING), cannot be read (IO-FAULT), or is a folder, a device
            or a pipe (IO-FORMAT).
    """
    total = hashlib.sha256()
    for path in paths:
        try:
            voxels = voxels_beside(path)
            for part in (path, *([] if voxels is None else [voxels])):
                total.update(bytes.fromhex(sum_of_file(part)))
        except OSError as error:
            raise Refused([_unread(Path(error.filename or path).name, error)]) from error
    return total.hexdigest()


def _unread(name: str, error: OSError) -> Finding:
    if isinstance(error, NotAFileError):
        told = finding("IO-FORMAT", f"{name!r} is {error.strerror}, not a scan.")
    else:
        code = "IO-MISSING" if isinstance(error, FileNotFoundError) else "IO-FAULT"
        told = finding(code, f"{name!r} cannot be read: {error.strerror}.")
    return told.at(file=name)


def sums_of_images(cases: Iterable[Case]) -> dict[str, str]:
    """The sum of each case's image files, by case id; cases that cannot be read are left out."""
    sums = {}
    for case in cases:
        try:
            sums[case.case_id] = sum_of_files(case.images)
        except Refused:
            continue
    return sums


def sum_of_voxels(voxels: NDArray[Any]) -> str:
    """The SHA-256 of an array's shape, type and values, in hex."""
    total = hashlib.sha256(f"{voxels.shape} {voxels.dtype.str}".encode())
    total.update(np.ascontiguousarray(voxels.T).data)  # free of copying as NIfTI lies in memory
    return total.hexdigest()
