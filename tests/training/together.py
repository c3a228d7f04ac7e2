"""What each of several processes does in the tests: `torchrun ... together.py TASK FOLDER`."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events

from tests.training.tiny import job
from volunet.data.cache import Prepared
from volunet.data.sampler import Batch, cut_patches, draw_patches
from volunet.errors import Stopped
from volunet.space.grid import Grid
from volunet.training.engine import build_trainer
from volunet.training.fit import fit, start_run
from volunet.training.processes import ALONE, Processes, joined
from volunet.training.tracking import NOBODY, Tracking

CPU = torch.device("cpu")
STEPS = 3


def take_steps(folder: Path, processes: Processes) -> dict:
    """Weights and losses after a few steps on this process's part of some batches."""
    run = start_run(replace(job(folder, steps=STEPS), processes=processes))
    parts = replace(run.parts, dtype=torch.float32)  # half as many patches round otherwise in less
    trainer = build_trainer(parts, tell=run.note_pieces, processes=processes)
    rng = np.random.default_rng(5)
    batches = []
    for _ in range(STEPS):
        draws = draw_patches(run.train, run.plan.patch, 4, foreground_share=0.5, rng=rng)
        batches.append(part(cut_patches(run.train, draws, run.plan.patch), processes))
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output.loss)
    )
    trainer.run(batches, max_epochs=1)
    return {"weights": run.parts.network.state_dict(), "losses": torch.stack(losses)}


def part(batch: Batch, processes: Processes) -> Batch:
    """This process's patches of a batch."""
    each = len(batch.case_ids) // processes.count
    mine = slice(processes.rank * each, (processes.rank + 1) * each)
    return Batch(batch.image[mine], batch.label[mine], batch.case_ids[mine])


def train(
    folder: Path,
    processes: Processes,
    *,
    stop_after: int | None = None,
    tracking: Tracking = NOBODY,
    **changes: Any,
) -> dict:
    """The weights that a whole run gives away; none where it was stopped."""
    made = replace(job(folder, steps=8, validations=2, log_steps=2), processes=processes, **changes)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return processes.rank == 1 and asked == stop_after  # one of them is told

    try:
        done = fit(made, should_stop=stop, tracking=tracking)
    except Stopped as stopped:
        return {"stopped": str(stopped)}
    return {
        "weights": done.weights,
        "dice": done.score.each["ball"],
        "cases": done.score.cases,
        "notes": done.notes,
    }


def vast(case_id: str) -> Prepared:
    """A case whose mask fits no memory."""
    shape = (2**17,) * 3
    image, label = (np.broadcast_to(kind(0), shape) for kind in (np.float32, np.uint8))
    return Prepared(case_id, image[None], label, {}, Grid(shape, np.eye(4)))


def main() -> None:
    task, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    with joined(CPU) as processes:
        if task == "steps":
            result = take_steps(folder, processes)
        elif task == "stop":
            result = train(folder, processes, stop_after=3)
        elif task == "track":
            result = train(folder, processes, tracking=Tracking(("tensorboard",)))
        elif task == "vast":
            result = train(folder, processes, validation=[vast("first"), vast("second")])
        else:
            result = train(folder, processes)
    torch.save(result, folder / f"{task}_{processes.rank}.pt")
    assert processes is ALONE or processes.count == 2


if __name__ == "__main__":
    main()
