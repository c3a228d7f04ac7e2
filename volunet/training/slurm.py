"""Processes that `srun` started itself, without `torchrun`, told as `torchrun` tells its own.

Source: environment variables of srun's tasks (https://slurm.schedmd.com/srun.html) and of
torchrun's (https://docs.pytorch.org/docs/stable/elastic/run.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PORTS = range(20_000, 30_000)
"""Where the first process listens: by the job's number, so that two jobs on a node differ."""


def told_by_srun(environment: Mapping[str, str]) -> dict[str, str]:
    """`RANK`, `WORLD_SIZE` and the like of a task among several; {} of one, or under `torchrun`.

    What is in the environment already, such as a `MASTER_ADDR` of one's own, stays.
    """
    if "WORLD_SIZE" in environment or int(environment.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return {}
    job = int(environment["SLURM_JOB_ID"])
    told = {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "MASTER_ADDR": first_node(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(PORTS[job % len(PORTS)]),
    }
    return {name: environment.get(name, value) for name, value in told.items()}


def first_node(nodes: str) -> str:
    """The first of a list such as "gpu[03-05,9],login1": "gpu03"."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes).split(",")[0]
