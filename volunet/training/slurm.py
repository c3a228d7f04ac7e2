"""Processes that `srun` started itself, without `torchrun`, told as `torchrun` tells its own.

Source: environment variables of srun's tasks (https://slurm.schedmd.com/srun.html) and of
torchrun's (https://docs.pytorch.org/docs/stable/elastic/run.html).
"""

from __future__ import annotations

from collections.abc import Mapping

PORT = "29500"
"""Where the first process listens unless told otherwise; torch's own."""


def told_by_srun(environment: Mapping[str, str]) -> dict[str, str]:
    """`RANK`, `WORLD_SIZE` and the like of a task among several that are to train together.

    A `MASTER_ADDR` says that they are: tasks may also be there to train apart, a fold each.

    Returns:
        Nothing without a `MASTER_ADDR`, for one task, and under `torchrun`.
    """
    asked = "MASTER_ADDR" in environment and "WORLD_SIZE" not in environment
    if not asked or int(environment.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return {}
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "MASTER_PORT": environment.get("MASTER_PORT", PORT),
    }
