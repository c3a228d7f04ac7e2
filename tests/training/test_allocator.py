"""Blocks that are freed come back as they are, without new pages of the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

TIMES, BYTES = 8, 48 << 20  # larger than any block that glibc keeps by itself
CHILD = f"""
import resource, sys, torch
from volunet.training.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(2 * {TIMES}):  # places of aligned blocks settle down first
    torch.ones({BYTES}, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({TIMES}):
    torch.ones({BYTES}, dtype=torch.uint8)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults * resource.getpagesize() / {BYTES})
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_freed_block_is_taken_again_without_new_pages() -> None:
    assert _times_cleared("kept") < 0.5
    assert _times_cleared("given back") > TIMES - 1


def _times_cleared(how: str) -> float:
    """How often each page of the blocks was handed out anew."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, how], check=True, capture_output=True, text=True
    )
    return float(done.stdout)
