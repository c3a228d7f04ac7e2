"""One process at a time on a folder of results, by a lock file that says whose it is.

The file is made with O_EXCL, which every file system has, network ones included. It outlives a
process that was killed: then it is stale, and the next one takes over. A process of this machine is
known by its id and the moment it was started, as ids are given again. Of other machines, of other
containers on this one, and of this one before it was started anew (which nothing tells from another
machine of its name), nothing can be seen: a process gives a sign of life twice a minute, and its
lock is stale a quarter of an hour after the last one, or three minutes where it is of a machine of
this name.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from volunet.errors import ConfigError, InUseError, TakenOver
from volunet.io.processes import is_of_another_start, process_space

NAME = ".volunet.lock"
SIGN_S, STALE_S = 30.0, 900.0
"""Seconds between signs of life, and after the last one until a lock is stale."""
RESTART_S = 180.0
"""The second where the machine may have been started anew: one of its name that lives tells so."""
PERMIT_S = 60.0
WAIT_S = 1.0
"""Seconds between two looks whether a folder is free."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process; `born` tells it from others of the same id, where the system says.

    Args:
        space: that process ids are of, as each machine, boot and container has its own.
    """

    host: str
    pid: int
    born: str
    space: str = ""

    @property
    def is_near(self) -> bool:
        """Whether this process sees whether that one lives."""
        return os.name == "posix" and self.space == process_space()


class Lock:
    """A lock that this process holds, and whose signs of life it gives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = path.read_text(encoding="utf-8")
        self._seen = time.time()
        self._over = threading.Event()
        self._signs = threading.Thread(target=self._live, name="volunet-lock", daemon=True)
        self._signs.start()

    def refresh(self) -> None:
        """Gives a sign of life, for machines that cannot see this process.

        A lock that somebody cleared away is made again.

        Raises:
            TakenOver: another process has taken the lock over, as this one was halted for too long.
        """
        try:
            ours = self._is_ours() or self._made_again()
            if ours:
                self.path.touch()
        except OSError:  # a network that is away for a moment; the next sign will do
            return
        if not ours:
            raise TakenOver(
                f"Another volunet has taken {self.path.parent.name or self.path.parent} over, as "
                "this one gave no sign of life. Finished cases are kept."
            )

    def refresh_now_and_then(self) -> None:
        """Gives a sign of life where the last one is a while ago; may be called often.

        Raises:
            TakenOver: as `refresh` has it.
        """
        if time.time() - self._seen >= SIGN_S:  # of the wall: a process may have been halted
            self.refresh()
            self._seen = time.time()

    def release(self) -> None:
        """Takes the lock away, if it is still this process's."""
        self._over.set()
        self._signs.join()
        with suppress(FileNotFoundError):
            if self._is_ours():
                self.path.unlink()

    def _is_ours(self) -> bool:
        try:
            return self.path.read_text(encoding="utf-8") == self._text
        except FileNotFoundError:
            return False

    def _made_again(self) -> bool:
        """Whether there was none."""
        try:
            with self.path.open("x", encoding="utf-8") as file:
                file.write(self._text)
        except FileExistsError:
            return False
        return True

    def _live(self) -> None:
        while not self._over.wait(SIGN_S):
            with suppress(OSError):
                if self._is_ours():
                    self.path.touch()


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Holds the lock of a folder, which is made if it is not there.

    Raises:
        InUseError: another process works on the folder.
        ConfigError: it cannot be written to.
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
    lock = Lock(path)
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def locked_in_turn(folder: Path, waits: Callable[[str], None]) -> Iterator[Lock]:
    """Holds the lock of a folder, after whoever holds it now.

    Args:
        waits: is told who that is, again and again; what it raises ends the waiting.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    while True:
        with ExitStack() as held:
            try:
                lock = held.enter_context(locked(folder))
            except InUseError as use:
                waits(use.who)
                time.sleep(WAIT_S)
                continue
            yield lock
            return


def is_held(folder: Path) -> bool:
    """Whether a process works on a folder, as far as can be seen."""
    found = _read(folder / NAME)
    return found is not None and not _is_stale(_parse(found[0]), found[1])


def _create(path: Path) -> bool:
    """Whether the lock was made; False where there is one."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    me = Holder(platform.node(), os.getpid(), _born(os.getpid()), process_space())
    try:
        os.write(handle, json.dumps(asdict(me)).encode())
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)
    return True


def _read(path: Path) -> tuple[str, float] | None:
    """What a lock says, and seconds since its last sign of life; None where it is gone."""
    try:
        return path.read_text(encoding="utf-8"), time.time() - path.stat().st_mtime
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise


def _remove_stale(path: Path) -> None:
    """Takes a dead process's lock away.

    Raises:
        ConfigError: its process lives, as far as can be seen.
    """
    if (found := _read(path)) is None:
        return
    (text, age_s), holder = found, _parse(found[0])
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
    if holder is None or not holder.is_near:
        restarted = holder is not None and is_of_another_start(holder.space)
        return age_s > (RESTART_S if restarted else STALE_S)
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
    except OSError:
        return ""
    # After the name in brackets, which may hold anything: field 3, the state, and 22, the start.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _in_use(path: Path, holder: Holder | None) -> InUseError:
    who = f" (process {holder.pid} on {holder.host})" if holder else ""
    return InUseError(
        f"Another volunet{who} is at work on {path.parent}",
        f"Wait for it, or choose another folder. If it runs no more, remove {NAME} there and try "
        "again.",
    )
