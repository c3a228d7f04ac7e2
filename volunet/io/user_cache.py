"""Files that are kept for the user, under what they were made from, and checked when they are read.

A file is one line of JSON, which says what it was made from and the SHA-256 of what follows, and
then the content. One that is damaged, cut short or another's counts as missing. What nobody has
read for `UNREAD_DAYS` is removed when something else is kept beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from volunet.errors import WriteError
from volunet.io.atomic import sweep, write_bytes

UNREAD_DAYS = 60


def cache_folder(part: str) -> Path:
    """Where things of a kind are kept for the user; the folder may not be there yet.

    Source: XDG Base Directory Specification, 0.8: an absolute `XDG_CACHE_HOME`, or `~/.cache`.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "volunet" / part


def keep(folder: Path, key: Mapping[str, Any], content: bytes) -> bool:
    """Keeps `content` for a later `recall`; a disk that is full or read-only is no error.

    Args:
        folder: made where it is missing.
        key: what the content was made from, as JSON values.

    Returns:
        Whether it was kept.
    """
    about = {"key": dict(key), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        forget_unread(folder, "kept")
        write_bytes(_path(folder, key), [json.dumps(about).encode() + b"\n", content])
    except (OSError, WriteError):
        return False
    return True


def recall(folder: Path, key: Mapping[str, Any]) -> bytes | None:
    """What was kept for `key` if each of its bytes is as written, else None."""
    path = _path(folder, key)
    try:
        line, _, content = path.read_bytes().partition(b"\n")
        about = json.loads(line)
        whole = about["sha256"] == hashlib.sha256(content).hexdigest()
        if not whole or about["key"] != json.loads(json.dumps(dict(key))):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    note_read(path)
    return content


def note_read(path: Path) -> None:
    """Has a file count as read today."""
    with suppress(OSError):  # a cache that may only be read is of use all the same
        os.utime(path)


def _path(folder: Path, key: Mapping[str, Any]) -> Path:
    said = json.dumps(dict(key), sort_keys=True)
    return folder / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.kept"


def forget_unread(folder: Path, ending: str) -> None:
    """Removes what nobody has read for `UNREAD_DAYS`, and what half-written files left."""
    sweep(folder)
    for path in folder.glob(f"*.{ending}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > UNREAD_DAYS * 24 * 3600:
                path.unlink()
