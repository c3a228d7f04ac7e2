"""One process at a time on a folder of results, by a lock file that says whose it is.

The file is made with O_EXCL, which every file system has, network ones included. It outlives a
process that was killed: then it is stale, and the next one takes over. A process of this machine is
known by its id and the moment it was started, as ids are given again, in containers even at once.
Of other machines nothing can be seen, so their locks are stale a day after their last sign of life.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from volunet.errors import ConfigError

NAME = ".volunet.lock"
DAY_S = 24 * 3600.0
PERMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A process; `born` tells it from others of the same id, where the system says."""

    host: str
    pid: int
    born: str


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def refresh(self) -> None:
        """Gives a sign of life, for machines that cannot see this process."""
        self.path.touch()


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Holds the lock of a folder, which is made if it is not there.

    Raises:
        ConfigError: another process works on the folder, or it cannot be written to.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not _create(path):
            _remove_stale(path)
    except OSError as error:
        raise ConfigError(
            f"{folder.name or folder} cannot be used for results: {error.strerror}. "
            "Choose another folder, or mend its permissions."
        ) from error
    try:
        yield Lock(path)
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path) -> bool:
    """Whether the lock was made; False where there is one."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    me = Holder(platform.node(), os.getpid(), _born(os.getpid()))
    try:
        os.write(handle, json.dumps(asdict(me)).encode())
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)
    return True


def _remove_stale(path: Path) -> None:
    """Takes a dead process's lock away.

    Raises:
        ConfigError: its process lives, as far as can be seen.
    """
    try:
        text, age_s = path.read_text(encoding="utf-8"), time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return
    holder = _parse(text)
    if not _is_stale(holder, age_s):
        raise _in_use(path, holder)
    # Of several that see the stale lock, only the one that makes this file may remove it, so that
    # nobody removes the new lock of another.
    permit = path.with_name(f"{NAME}.taken")
    try:
        os.close(os.open(permit, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        _remove_old(permit)
        raise _in_use(path, None) from None
    try:
        with suppress(FileNotFoundError):
            if path.read_text(encoding="utf-8") == text:
                path.unlink()
    finally:
        permit.unlink(missing_ok=True)


def _remove_old(permit: Path) -> None:
    """Removes the permit of a process that died in the blink it had it, for the next try."""
    with suppress(FileNotFoundError):
        if time.time() - permit.stat().st_mtime > PERMIT_S:
            permit.unlink()


def _parse(text: str) -> Holder | None:
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _is_stale(holder: Holder | None, age_s: float) -> bool:
    if holder is None or holder.host != platform.node() or os.name != "posix":
        return age_s > DAY_S
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _born(holder.pid) != holder.born


def _born(pid: int) -> str:
    """A mark of the process's start; "" where the system has none, or the process is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    # After the name in brackets, which may hold anything: field 3, the state, and 22, the start.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _in_use(path: Path, holder: Holder | None) -> ConfigError:
    who = f" (process {holder.pid} on {holder.host})" if holder else ""
    return ConfigError(
        f"Another volunet{who} is at work on {path.parent.name or path.parent}. Wait for it, or "
        f"choose another folder. If it runs no more, remove {NAME} there and try again."
    )
