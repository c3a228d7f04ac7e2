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
