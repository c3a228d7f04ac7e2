"""Memory that a process frees and keeps, in place of giving it back to the system each time.

A training step takes and frees the same feature maps again and again. The C library of Linux gives
blocks of more than 32 MiB back as soon as they are freed, and the system clears each page of the
next ones before it hands them out: on two cores with AMX that was a third of a step in bfloat16.
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Names of glibc's settings in malloc.h; mallopt(3) tells what they do."""
NEVER, NONE = -1, 0


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, for good; its peak grows by up to a quarter.

    It holds for all that the process does, so it is for a command, or for a script that trains and
    does little else.

    Returns:
        Whether the C library is glibc, which alone knows of it; any other is left as it is.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS, musl, and Windows
        return False
    return bool(mallopt(MMAP_MAX, NONE)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
