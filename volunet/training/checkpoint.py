"""Checkpoints: everything a run needs to go on, written whole or not at all.

A checkpoint is one file whose name ends in the first half of its own SHA-256, so that a damaged
one is seen before it is opened; the one before it is kept until the next is safe.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import torch

from volunet.io.atomic import write_bytes

logger = logging.getLogger(__name__)
NAME = re.compile(r"step_(\d{9})_([0-9a-f]{32})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Writes the state after `step` steps, and removes all others but the newest before it.

    Args:
        state: tensors, numbers, text, and lists and dicts of these.

    Raises:
        WriteError: it could not be written; earlier checkpoints are still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:32]
    path = folder / f"step_{step:09d}_{digest}.pt"
    write_bytes(path, content)
    others = [old for old in find_checkpoints(folder) if old != path]
    before = next((old for old in others if old.name < f"step_{step:09d}_"), None)
    for old in others:
        if old != before:
            old.unlink(missing_ok=True)
    return path


def find_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first; [] where there is no such folder."""
    named = [path for path in folder.glob("step_*.pt") if NAME.fullmatch(path.name)]
    return sorted(named, key=lambda path: path.name, reverse=True)


def load_newest(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest state that is whole, or None where there is none.

    A damaged checkpoint is passed over with a warning in the log. Nothing in a file is executed.
    """
    for path in find_checkpoints(folder):
        if (content := _whole(path)) is not None:
            state: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location=device, weights_only=True
            )
            return state
        logger.warning("The checkpoint %s is damaged; trying the one before it.", path.name)
    return None


def can_go_on(folder: Path) -> bool:
    """Whether there is a checkpoint that is whole.

    It is looked for twice, as a process that trains there removes old ones meanwhile.
    """
    looks = (path for _ in range(2) for path in find_checkpoints(folder))
    return any(_whole(path) is not None for path in looks)


def _whole(path: Path) -> bytes | None:
    """What a checkpoint holds; None where it is damaged, or gone by now."""
    try:
        content, match = path.read_bytes(), NAME.fullmatch(path.name)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return None
    told = match is not None and hashlib.sha256(content).hexdigest()[:32] == match[2]
    return content if told else None
