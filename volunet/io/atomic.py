"""Write a file whole or not at all: aside, to the disk, checked, and only then under its name.

The temporary file lies in the same folder, as renaming is atomic within one file system only. Its
name, `.<name>.<host>-<pid>-<random>.part`, tells `sweep` whose left-over it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from volunet.errors import WriteError
from volunet.io.processes import process_space

PART = re.compile(r"\..*\.(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-[0-9a-f]{8}\.part", re.DOTALL)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF)
"""What a share says that cannot bring a folder to the disk, and a folder that may not be read."""
DAY_S = 24 * 3600.0


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write UTF-8 text under `path`, whole or not at all.

    Raises:
        WriteError: as `write_bytes`.
    """
    return write_bytes(path, text.encode())


def write_bytes(
    path: str | os.PathLike[str],
    content: bytes | Iterable[bytes],
    *,
    verify: Callable[[Path], None] | None = None,
) -> Path:
    """Write bytes under `path`, whole or not at all; an earlier file of that name is replaced.

    Args:
        path: its folder must exist.
        content: the bytes, or chunks of them, consumed once.
        verify: called with the temporary file once it is on the disk; raises where it is wrong.

    Returns:
        The path.

    Raises:
        WriteError: the disk is full or refuses, or `verify` raised it. The temporary file is
            removed, and what lay under `path` before still does; unless the disk fails once the
            file has its name, which is then told.
    """
    path = Path(path)
    _sweep_once(path.parent)
    part = _part_beside(path)
    try:
        _fill(part, [content] if isinstance(content, bytes) else content)
        if verify is not None:
            verify(part)
        os.replace(part, path)
    except OSError as error:
        if isinstance(error, WriteError):
            raise
        raise WriteError(f"{path.name} was not written: {_advice(error, path)}") from error
    finally:
        part.unlink(missing_ok=True)
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise WriteError(
            f"{path.name} was written, and may be gone after a power cut: its folder could not be "
            f"brought to the disk ({error.strerror or error}). Check the disk and run it again."
        ) from error
    return path


def sweep(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove temporary files that dead processes left in `folder`, and tell which.

    Those of other machines and containers, and of this one before it was started anew, are removed
    once they are a day old, as their processes cannot be seen from here.
    """
    removed = []
    for path in Path(folder).glob(".*.part"):
        match = PART.fullmatch(path.name)
        if match and _is_left_over(path, match["host"], int(match["pid"])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


@cache
def _sweep_once(folder: Path) -> None:
    """Sweeps a folder before the first file that this process writes there."""
    with suppress(OSError):  # a left-over that stays is no reason not to write
        sweep(folder)


def differs(how: str) -> WriteError:
    """What `verify` raises, where another file was written than was to be."""
    return WriteError(
        f"What was read back is not what was written, and was removed. {how} "
        "Run it again; if it recurs, check the disk."
    )


def _part_beside(path: Path) -> Path:
    # Long names are cut: the file system allows 255 bytes, and the final name may need them all.
    owner = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name[:40]}.{owner}.part")


def _fill(part: Path, chunks: Iterable[bytes]) -> None:
    with part.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk, where the system and the file system can."""
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def _advice(error: OSError, path: Path) -> str:
    if error.errno in FULL:
        return "the disk, a quota or a file size limit is full. Free some space and run it again."
    if error.errno == errno.ENOENT:
        return f"its folder {path.parent.name or '.'!r} is not there. Make it first."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "its folder may not be written to. Choose another folder or mend its permissions."
    if error.errno == errno.ENAMETOOLONG:
        return "its name is too long for the file system. Choose a shorter one."
    return f"{error.strerror or error}."


def _host() -> str:
    return hashlib.sha256(process_space().encode()).hexdigest()[:6]


def _is_left_over(path: Path, host: str, pid: int) -> bool:
    if host != _host() or os.name != "posix":
        try:
            return time.time() - path.stat().st_mtime > DAY_S
        except FileNotFoundError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
