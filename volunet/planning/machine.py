"""What the machine at hand offers: a device, processors, memory."""

from __future__ import annotations

import errno
import os
import platform
import re
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import torch

from volunet.errors import ConfigError

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]

SPARE_FILES = 256
"""Files that a process has open beside its prepared cases, libraries and scans that are read."""
GB = 1e9
UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
UNITS |= {"KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30, "TIB": 2.0**40}
CPU_OUT_OF_MEMORY = "can't allocate memory"
"""What torch says, in a plain RuntimeError, when the machine's memory is not enough."""
SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]i?b)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a plan will be carried out.

    Args:
        device: what computes.
        cores: processors that this process may use.
        memory_gb: memory of the device (10^9 bytes); of the machine where the device is a CPU.
        half: feature maps are trained in a type of two bytes.
    """

    device: Literal["cpu", "cuda", "mps"]
    cores: int
    memory_gb: float
    half: bool = True


def read_bytes(size: str | float) -> float:
    """The bytes of a size such as "4GB" (10^9 bytes each), "4GiB" (2^30) or "800 MB".

    Raises:
        ConfigError: it is none, or nothing.
    """
    match = SIZE.fullmatch(size) if isinstance(size, str) else None
    found = float(match[1]) * UNITS[match[2].upper()] if match else 0.0
    found = found if isinstance(size, str) else float(size)
    if not 0 < found < inf:
        raise ConfigError(f"{size!r} is no size of memory. Write it like 4GB, 3.5GiB or 800MB.")
    return found


def find_device(name: str | None = None) -> torch.device:
    """The device called `name`, or the best there is.

    Raises:
        ConfigError: there is no such device here.
    """
    if name is None:
        best = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device("mps" if torch.backends.mps.is_available() else best)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"The device {name!r} cannot be used here: {reason}") from error
    return device


def this_machine(device: torch.device) -> Machine:
    """The machine that the process runs on, within the limits of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    half = training_dtype(device) != torch.float32
    if device.type == "cuda":
        memory = float(torch.cuda.get_device_properties(device).total_memory)
        return Machine("cuda", cores or 1, memory / GB, half)
    kind: Literal["cpu", "mps"] = "mps" if device.type == "mps" else "cpu"
    return Machine(kind, cores or 1, host_memory_bytes() / GB, half)


def name_of_device(device: torch.device) -> str:
    """The name of a GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_facts().get("model name") or platform.processor() or platform.machine()


def processor_facts() -> dict[str, str]:
    """What Linux tells of the first processor; {} elsewhere."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    return {name.strip(): value.strip() for name, value in facts.items()}


def choose_dtype(device: torch.device | str) -> torch.dtype:
    """The fastest type that keeps masks as they are: bfloat16 where the device multiplies in it.

    That is a CPU with AVX512-BF16 or AMX, or a GPU from Ampere on; elsewhere bfloat16 is emulated,
    and slower than float32. Older GPUs of NVIDIA's take float16.
    """
    kind = torch.device(device).type
    if kind == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast else torch.float32
    if kind == "cuda":
        natively = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if natively else torch.float16
    return torch.float32


def training_dtype(device: torch.device | str) -> torch.dtype:
    """The type of feature maps in training: bfloat16 where `choose_dtype` takes it, else float32.

    Gradients in float16 would vanish without scaling, which is not built.
    """
    half = choose_dtype(device) == torch.bfloat16
    return torch.bfloat16 if half else torch.float32


def host_memory_bytes() -> int:
    """Memory of the machine, or the least limit of a container or a cluster's job."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *memory_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def memory_limits(groups: Path, root: Path) -> list[int]:
    """The limits, in bytes, of the control groups of a process, and of those that they are part of.

    Args:
        groups: its groups, as Linux tells them, of version 2 or 1; [] where there is no such file.
        root: where the system mounts groups.
    """
    lines = groups.read_text().splitlines() if groups.is_file() else []
    found = []
    for kinds, place in (line.split(":", 2)[1:] for line in lines):
        if kinds and "memory" not in kinds.split(","):
            continue
        top = root / "memory" if kinds else root
        inner = top / place.strip("/")
        name = "memory.limit_in_bytes" if kinds else "memory.max"
        for folder in (inner, *inner.parents):
            limit = folder / name
            if limit.is_file() and (text := limit.read_text().strip()).isdigit():
                found.append(int(text))
            if folder == top:
                break
    return found


def allow_open_files(count: int) -> None:
    """Sees to it that the process may have so many files open, beside those that it needs anyway.

    Raises:
        ConfigError: the system does not allow it.
    """
    if resource is None:
        return  # Windows, where maps of files are no open files
    needed, (soft, hard) = count + SPARE_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{count} prepared cases are {count} open files, and this process may have {hard}. "
            f"Have the limit raised to {needed} (ulimit -Hn), or train on fewer cases."
        ) from error


def refuse_too_many_files(error: BaseException) -> None:
    """Raises ConfigError where an error says that no more files can be opened."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise ConfigError(
            "This process, or the machine, may not have more files open, of which each prepared "
            "case is one. Have the limit raised (ulimit -Hn), or train on fewer cases."
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the machine, or of its GPU, was not enough."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and CPU_OUT_OF_MEMORY in str(error))
