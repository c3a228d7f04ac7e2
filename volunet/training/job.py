"""What a training run is given: a plan, cases, a budget and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from volunet.data.cache import Prepared
from volunet.planning.plan import Plan
from volunet.training.begin import Start
from volunet.training.budget import Budget
from volunet.training.processes import ALONE, Processes
from volunet.training.settings import Training


@dataclass(frozen=True)
class Job:
    """What to train, on what, and for how long.

    Args:
        train: prepared cases to learn from, at least one.
        validation: prepared cases to score; may be empty.
        folder: where checkpoints and the history are kept.
        start: what the network begins with; None for weights drawn at random.
        encoder_weights: a file that its encoder begins with, where it is one of `EncoderUNet`'s.
        processes: that train together.
    """

    plan: Plan
    settings: Training
    train: list[Prepared]
    validation: list[Prepared]
    budget: Budget
    folder: Path
    device: torch.device
    seed: int = 0
    start: Start | None = None
    encoder_weights: Path | None = None
    processes: Processes = ALONE
