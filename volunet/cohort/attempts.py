"""Which cases a process was at work on, so that one that kills it does not do so for ever.

Want of memory ends a process without a word, and so does a crash in a library. What was begun and
not finished stands in a file of one JSON line each, which is gone after a run that ended by itself.
A case that was begun once and not finished is tried again after all others, and alone; after two
such tries it is refused, until the command, the model or the files are others. Where the process
was asked to stop, and killed as the case took longer than whoever asked would wait, that is no try.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from volunet.errors import WriteError
from volunet.io.atomic import write_text

NAME = ".volunet.begun"
TRIES = 2
LOOK_S = 0.5
"""Seconds between two looks whether the process is asked to stop."""


class Attempts:
    """The cases begun in a folder of results, and how often that came to nothing.

    Args:
        path: of the file.
        command: what the run was asked, which is tried anew when it is another.
    """

    def __init__(self, path: Path, command: Mapping[str, object]) -> None:
        self._path, self._lock = path, threading.Lock()
        self._command = json.dumps({name: str(value) for name, value in sorted(command.items())})
        self._begun: dict[str, str] = {}
        self._stopping = False
        self._lost = Counter[tuple[str, str]]()
        self._wrote: dict[str, set[str]] = {}
        for line in _lines(path):
            case_id, key, wrote = line.get("case"), line.get("attempt"), line.get("wrote")
            if isinstance(case_id, str) and isinstance(key, str):
                self._lost[case_id, key] += 1
            elif isinstance(stopped := line.get("stopped"), str):
                self._lost[str(case_id), stopped] -= 1
            elif isinstance(case_id, str) and isinstance(wrote, str):
                self._wrote.setdefault(case_id, set()).add(wrote)
            elif line.get("done"):
                self._wrote.pop(str(case_id), None)
                for known in [known for known in self._lost if known[0] == case_id]:
                    del self._lost[known]

    def lost(self, case_id: str) -> bool:
        """Whether a process ended while it was at work on the case."""
        return any(case == case_id and tries > 0 for (case, _), tries in self._lost.items())

    def given_up(self, case_id: str, key: str) -> bool:
        """Whether that happened as often as it may, with the same files, model and command."""
        return self._lost[case_id, self._attempt(key)] >= TRIES

    def begin(self, case_id: str, key: str) -> None:
        """Writes down that a case is at work.

        Raises:
            OSError: the disk is full or refuses.
        """
        with self._lock:
            attempt = self._attempt(key)
            stopped = [{"case": case_id, "stopped": attempt}] if self._stopping else []
            self._write([{"case": case_id, "attempt": attempt}, *stopped], "a")
            self._begun[case_id] = attempt

    def writes(self, case_id: str, sha256: str) -> None:
        """Writes down which mask is about to get its name, so that it is known for ours.

        Raises:
            OSError: the disk is full or refuses.
        """
        with self._lock:
            self._write([{"case": case_id, "wrote": sha256}], "a")
            self._wrote.setdefault(case_id, set()).add(sha256)

    def sums_of(self, case_id: str) -> set[str]:
        """Of masks that were about to get their name when a process ended."""
        return self._wrote.get(case_id, set())

    def done(self, case_id: str, *, kept: bool = False) -> None:
        """Writes down that a case that was begun has ended, however it did.

        Args:
            kept: an earlier run had done it, and may have ended before it wrote that down here.

        Raises:
            OSError: the disk is full or refuses.
        """
        with self._lock:
            lost = [known for known in self._lost if known[0] == case_id]
            if case_id in self._begun or (kept and lost):
                for known in lost:
                    del self._lost[known]
                self._write([{"case": case_id, "done": True}], "a")
                self._begun.pop(case_id, None)
                self._wrote.pop(case_id, None)

    @contextmanager
    def watching(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Writes down within a second that the process is asked to stop.

        A kill after that, which comes when a grace period is over, is not put down to a scan.
        """
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                if should_stop():
                    with suppress(OSError):  # a full disk: then the kill counts
                        self._take_back()
                    return

        looks = threading.Thread(target=look, name="volunet-stop", daemon=True)
        looks.start()
        try:
            yield
        finally:
            over.set()
            looks.join()

    def _take_back(self) -> None:
        """Lets what is begun, or will be, count for no try."""
        with self._lock:
            self._stopping = True
            self._write([{"case": c, "stopped": a} for c, a in self._begun.items()], "a")

    def close(self) -> None:
        """Forgets what was begun, as this process ends by itself; what was given up is kept."""
        kept: list[dict[str, str]] = [
            {"case": case, "attempt": attempt}
            for (case, attempt), tries in self._lost.items()
            for _ in range(tries)
        ]
        kept += [{"case": c, "wrote": sha} for c, sums in self._wrote.items() for sha in sums]
        with suppress(WriteError, OSError):  # what stands there already says more, and no less
            if kept:
                write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))
            else:
                self._path.unlink(missing_ok=True)

    def _attempt(self, key: str) -> str:
        return hashlib.sha256(f"{key} {self._command}".encode()).hexdigest()[:16]

    def _write(self, lines: Iterable[Mapping[str, object]], mode: str) -> None:
        with self._path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())  # else a mask may outlive what tells whose it is


def _lines(path: Path) -> Iterable[dict[str, object]]:
    """The lines that can be read; none where there is no file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value
