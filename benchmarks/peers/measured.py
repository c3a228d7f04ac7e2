"""Seconds and memory of the process that asks, written to one small JSON as soon as it ends.

Nothing but the standard library is imported here, so that any Python can run it.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("volunet", "torch", "monai", "torchio", "nnunetv2", "openvino", "onnxruntime", "numpy")
ARITHMETIC = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX512", "avx2": "AVX2"}
"""By the system's word for it, widest first; the first two multiply in bfloat16."""


class Stopwatch:
    """Seconds by step, added up where a step comes more than once."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.steps[name] = self.steps.get(name, 0.0) + time.perf_counter() - started

    def timed(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """`call`, its seconds counted under `name`."""

        def counted(*arguments: Any) -> Any:
            with self.step(name):
                return call(*arguments)

        return counted

    def rounded(self) -> dict[str, float]:
        return {name: round(seconds, 3) for name, seconds in self.steps.items()}


def memory_gb(which: str) -> float:
    """Resident memory of this process now ("VmRSS") or at most so far ("VmHWM"), 10^9 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which + ":"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError(f"This system does not tell {which}; the benchmark needs Linux.")


def forget_peak() -> None:
    """Sets the high-water mark of this process to what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def versions() -> dict[str, str]:
    """Of the packages that matter, as far as this Python has them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """What the system calls its processor, and the widest arithmetic that it has."""
    path = Path("/proc/cpuinfo")
    facts = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    said = {name.strip(): value.strip() for name, value in facts.items()}
    able = set(said.get("flags", "").split())
    widest = next((told for flag, told in ARITHMETIC.items() if flag in able), "")
    return ", ".join(filter(None, (said.get("model name", platform.machine()), widest)))


def keep(path: Path, facts: dict[str, Any]) -> None:
    """Writes a measurement whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(facts, indent=2) + "\n")
    os.replace(aside, path)
