"""From errors and signals to the exit codes of the contract.

0 all well, 1 our fault, 2 usage, 3 some cases not ok, 4 no case ok, 75 stopped early, can go on.
"""

from __future__ import annotations

import errno
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from volunet.cli.speaker import Speaker
from volunet.errors import InUseError, Stopped, TrainingDiverged, VolunetError, WriteError
from volunet.findings import Refused

FAULT, USAGE, SOME_NOT_OK, NONE_OK, CAN_GO_ON = 1, 2, 3, 4, 75
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PLACE = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL}
PLACE |= {errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.ELOOP, errno.ENOTEMPTY}
"""What a place that cannot be used says; a mistake of whoever gave it."""
PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.EAGAIN, errno.EHOSTDOWN}
PASSING |= {errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, *FULL}
"""What may be otherwise later: a full disk, or a share that is away."""

LAYOUT = {"SET-UNPAIRED", "SET-LEAK", "SET-DUPLICATE-ID"}
"""Mistakes in how files are laid out, whatever they hold."""


@contextmanager
def exits(speaker: Speaker) -> Iterator[None]:
    """Turns whatever a verb raises into a message and an exit code, never a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        speaker.complain("Stopped before the end. To finish, give the same command again.")
        raise typer.Exit(CAN_GO_ON) from None
    except Exception as error:  # the edge of the program: every error ends here as advice
        if speaker.verbose:
            speaker.err.print_exception()
        speaker.complain(_message(error))
        for found in error.findings if isinstance(error, Refused) else ():
            speaker.give(json.loads(found.to_json()))
        raise typer.Exit(code_of(error)) from None
    finally:
        speaker.end_bar()


def code_of(error: Exception) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, Stopped | InUseError):
        return CAN_GO_ON
    if isinstance(error, Refused):
        codes = {found.code for found in error.findings if found.refuses}
        return USAGE if codes and codes <= LAYOUT else NONE_OK
    if isinstance(error, OSError):
        return _code_of_system(error)
    if isinstance(error, VolunetError) and not isinstance(error, TrainingDiverged):
        return USAGE
    return FAULT


def _code_of_system(error: OSError) -> int:
    """A place that cannot be used is a mistake; a full disk, or a share that is away, may pass."""
    cause = error.__cause__ if isinstance(error, WriteError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    if number in PLACE:
        return USAGE
    return CAN_GO_ON if isinstance(error, WriteError) or number in PASSING else FAULT


def _message(error: Exception) -> str:
    if isinstance(error, VolunetError):
        return str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return f"{error.strerror}. Free some space; the same command goes on."
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename} cannot be used: {error.strerror}. Choose another place, or mend "
            "what stands there or its permissions."
        )
    return (
        f"Something went wrong that volunet did not expect: {type(error).__name__}: {error}. "
        "Run it again with -v for the traceback, and report it if it recurs."
    )


class Stop:
    """A wish to stop, asked of the process by a signal; a second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._event.set()

    def __call__(self) -> bool:
        """Whether the process was asked to stop."""
        return self._event.is_set()
