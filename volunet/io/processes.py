"""Whose process ids mean something here: a process is seen from its own container and boot only."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def process_space() -> str:
    """What tells the process ids of one machine, boot and container from those of another.

    Machines that were made from one image may have one name, and every machine numbers the space
    of its own processes alike; the kernel draws a new id at each start.
    """
    return f"{platform.node()} {_boot()} {_container()}"


def is_of_another_start(space: str) -> bool:
    """Whether process ids are of this machine before it was started anew, or of one of its name."""
    theirs, ours = space.split(" "), process_space().split(" ")
    alike = len(theirs) == len(ours) and (theirs[0], theirs[2]) == (ours[0], ours[2])
    return alike and "" not in (theirs[1], ours[1]) and theirs[1] != ours[1]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _container() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
