"""What one case cost: the most memory the process held while it was worked on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

GB = 1e9
KIB = 1024
PROCESS = Path("/proc/self")
RESET_PEAK = "5"
"""What Linux wants written to `clear_refs` to start the high-water mark anew (proc(5))."""


def watch_memory() -> Callable[[], float | None]:
    """Starts the process's high-water mark anew.

    Returns:
        A function that tells the mark since then in GB (10^9 bytes): what the process as a whole
        held in RAM at its most, model and libraries included. It tells None where the mark cannot
        be started anew, which only Linux allows, and not in every container.
    """
    try:
        (PROCESS / "clear_refs").write_text(RESET_PEAK)
    except OSError:
        return lambda: None
    return _high_water_gb


def _high_water_gb() -> float | None:
    for line in (PROCESS / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB / GB
    return None
