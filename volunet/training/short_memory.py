"""Want of memory that no cutting of batches mends, told with what is needed and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from volunet.errors import OutOfMemory, VolunetError
from volunet.planning.machine import GB, is_out_of_memory, training_dtype
from volunet.planning.memory import training_bytes
from volunet.planning.plan import Plan

SMALLER = "in the recipe (in a new folder, once this one has a checkpoint)"
"""Where a plan is made smaller, so that a command can be given again."""


@contextmanager
def told_where_it_falls_short(
    plan: Plan, device: torch.device, *, loss_bytes: float
) -> Iterator[None]:
    """A block of training, whose want of memory is an error with advice.

    Args:
        loss_bytes: that the loss takes for each logit.

    Raises:
        OutOfMemory: weights, what the optimiser or the average keeps of them, or a batch did not
            fit the memory.
    """
    try:
        yield
    except VolunetError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        half = training_dtype(device) != torch.float32
        needed = training_bytes(plan, half=half, loss_bytes=loss_bytes) / GB
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise OutOfMemory(
            f"Training does not fit the memory here ({device}): {said.rstrip('.')}. With its "
            "weights, what the optimiser keeps of them and a batch, the plan wants about "
            f"{needed:.1f} GB. End what else uses this memory, set a smaller plan.batch, "
            f"plan.patch or plan.features {SMALLER}, or use a machine with more memory."
        ) from error
