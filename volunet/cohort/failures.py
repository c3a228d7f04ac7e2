"""Whatever stopped one case, told as the row of a table: a status, codes, and one line of text.

Folders are left out of the text, as their names may name patients.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from volunet.cohort.journal import Status
from volunet.errors import OutOfTime, VolunetError
from volunet.findings import RANK, Finding, Refused, Severity, worst_first
from volunet.planning.machine import is_out_of_memory

LONGEST = 600
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The part of a record that says how it went."""

    status: Status
    codes: tuple[str, ...] = ()
    message: str = ""


def judge_findings(found: Iterable[Finding]) -> Verdict:
    """The verdict on a case that has a mask."""
    told = [f for f in worst_first(found) if RANK[f.severity] >= RANK[Severity.WARN]]
    return Verdict("ok_with_findings" if told else "ok", _codes(told), _text(told))


def judge_error(error: Exception, files: Iterable[Path]) -> Verdict:
    """The verdict on a case that an error stopped.

    Args:
        files: what the case was read from and written to; their folders are not named.
    """
    if isinstance(error, Refused):
        found = [f for f in error.findings if f.refuses]
        is_fault = any(f.severity is Severity.FAULT for f in found)
        return Verdict("failed" if is_fault else "refused", _codes(found), _text(found))
    message = one_line(without_folders(str(error), files))
    if is_out_of_memory(error):
        advice = "The case needs more memory than there was."
        return Verdict("oom", ("RUN-OOM",), one_line(f"{advice} {message}"))
    if isinstance(error, OutOfTime):
        return Verdict("timeout", ("RUN-TIMEOUT",), message)
    if not isinstance(error, VolunetError):
        message = one_line(f"{type(error).__name__}: {message}")
    return Verdict("failed", ("RUN-FAILED",), message)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that the disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return True
        error = error.__cause__
    return False


def one_line(text: str) -> str:
    """Text without line breaks, of bounded length, that UTF-8 can hold."""
    flat = " ".join(text.encode("utf-8", "replace").decode().split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


def without_folders(text: str, files: Iterable[Path]) -> str:
    """Text in which these files go by their names alone."""
    for folder in sorted({str(f) for f in _folders(files)}, key=len, reverse=True):
        text = text.replace(folder + os.sep, "")
    return text


def traceback_of(error: Exception, files: Iterable[Path]) -> str:
    """The traceback as text, for the log."""
    return without_folders("".join(traceback.format_exception(error)), files)


def free_frames(error: Exception) -> None:
    """Lets go of what the functions held that an error passed through; its lines stay.

    A traceback keeps a scan and all that was made of it alive as long as anybody keeps the error,
    and so do frames that called those of the traceback, until they are freed after they ended.
    """
    told: BaseException | None = error
    while told is not None:
        traceback.clear_frames(told.__traceback__)
        told = told.__cause__ or told.__context__


def _folders(files: Iterable[Path]) -> Iterator[Path]:
    for file in files:
        for folder in (file.parent, file.parent.absolute(), file.parent.resolve()):
            if len(folder.parts) > 1:
                yield folder


def _codes(found: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.code for f in found))


def _text(found: Iterable[Finding]) -> str:
    return one_line(" ".join(f"{f.message} {f.advice}".strip() for f in found))
