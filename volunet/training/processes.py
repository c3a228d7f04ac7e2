"""Several processes that train one network together, each on batches of its own.

`torchrun` starts them, or `srun`. All take the same steps with the same weights; the first one
writes and speaks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce

from volunet.errors import ConfigError, FirstFailed, TakenOver
from volunet.training.slurm import told_by_srun

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=2)
"""While the first process prepares all cases, the others do nothing else but wait."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; one alone by default.

    Args:
        rank: from 0.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def sum(self, values: Tensor) -> Tensor:
        """The sum of every process's values, through which gradients flow to each."""
        if not self.several:
            return values
        total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
        return total

    def agreed(self, value: float, wish: bool) -> tuple[float, bool]:
        """The first process's value, and whether any process has the wish."""
        if not self.several:
            return value, wish
        told = torch.tensor([value if self.first else 0.0, float(wish)], dtype=torch.float64)
        told = told.to("cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(told)
        seconds, wishes = told.tolist()
        return seconds, wishes > 0

    def gathered(self, mine: T) -> list[T]:
        """What every process has, in the order of their ranks."""
        if not self.several:
            return [mine]
        found: list[T | None] = [None] * self.count
        dist.all_gather_object(found, mine)
        return [one for one in found if one is not None]

    def check_alike(self, told: str) -> None:
        """Sees to it that all processes were told the same.

        Raises:
            ConfigError: they were not; in all of them.
        """
        if len({*self.gathered(told)}) > 1:
            raise ConfigError(
                "The processes that are to train together were told different things, such as "
                "folders or folds. Give all the same command; or start each by itself, to train "
                "apart (under srun without MASTER_ADDR)."
            )

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """A block that the first process goes through alone, and then all others.

        Raises:
            FirstFailed: in the others, where an error or a wish to stop ended it in the first.
        """
        if self.several and not self.first and self._told(done=True) is False:
            raise FirstFailed("The first process could not begin; what it says counts.")
        try:
            yield
        except BaseException:
            if self.first:
                self._told(done=False)
            raise
        if self.first:
            self._told(done=True)

    def _told(self, *, done: bool) -> bool:
        """What the first process says to all."""
        said = [done]
        if self.several:
            dist.broadcast_object_list(said, src=0)
        return said[0]


ALONE = Processes()


class SharedTime:
    """The time in seconds, from any origin, and a wish to stop, that all processes know alike.

    Where there are several, both stand still until they are agreed on again.

    Attributes:
        lost: says that the run's folder is another process's by now. All stop then, and this one
            writes nothing more.
    """

    lost: TakenOver | None = None

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.agree(wish=False)

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.processes.first and self.lost is None

    def __call__(self) -> float:
        return self._seconds if self.processes.several else time.monotonic()

    def agree(self, *, wish: bool) -> None:
        """Takes the first process's time, and stops all where one wishes to."""
        self._seconds, self.stop = self.processes.agreed(time.monotonic(), wish)


def launched() -> Processes:
    """This process among those that were started together, as its environment tells."""
    told = os.environ | told_by_srun(os.environ)
    count = int(told.get("WORLD_SIZE", "1"))
    return Processes(int(told.get("RANK", "0")), count) if count > 1 else ALONE


def own_device(device: torch.device) -> torch.device:
    """The device of this process: where it sees several GPUs, one for each process of its node."""
    if device.type != "cuda" or not launched().several:
        return device
    told = os.environ | told_by_srun(os.environ)
    return torch.device("cuda", int(told.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that were started together, joined for as long as they train."""
    processes = launched()
    if not processes.several:
        yield processes
        return
    if device.type == "cuda":
        torch.cuda.set_device(own_device(device))
    # Not by ignite: under SLURM that wants one task a process, and `torchrun` is one a node.
    os.environ.update(told_by_srun(os.environ))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield processes
    finally:
        dist.destroy_process_group()
