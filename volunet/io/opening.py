"""Open files that may be anything: what is no file is told, and not waited for.

Opening a pipe waits until somebody writes to it, and a device such as /dev/zero has no end.
"""

from __future__ import annotations

import errno
from io import BufferedReader
from pathlib import Path


class NotAFileError(OSError):
    """A folder, a device or a pipe lies where a file was expected; `strerror` says which."""


def open_file(path: Path) -> BufferedReader:
    """A file, open for reading; links are followed.

    Raises:
        NotAFileError: it is something else.
        OSError: it is missing or cannot be read.
    """
    if path.is_dir():
        raise NotAFileError(errno.EISDIR, "a folder", str(path))
    if path.exists() and not path.is_file():
        raise NotAFileError(errno.EINVAL, "a device or a pipe", str(path))
    return path.open("rb")
