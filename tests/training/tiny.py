"""A task that a tiny network learns in seconds: a bright ball in noise."""

from pathlib import Path

import numpy as np
import torch

from volunet.data.cache import Prepared
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.training.budget import Budget
from volunet.training.job import Job
from volunet.training.optim import Optimisation
from volunet.training.settings import Training

PLAN = Plan(
    channels=("T1 MR",),
    labels=Labels(structures={"ball": 1}),
    spacing=(1, 1, 1),
    patch=(16, 16, 16),
    intensities=(Intensity(scheme="image"),),
    features=(4, 8),
    strides=((2, 2, 2),),
    kernels=((3, 3, 3), (3, 3, 3)),
    batch=2,
)


def ball(seed: int) -> Prepared:
    """A case with a ball of 5 voxels radius somewhere in 20 cubed."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(7, 13, 3)[:, None, None, None]
    inside = np.square(np.indices((20, 20, 20)) - centre).sum(axis=0) < 25
    image = (inside + rng.normal(0, 0.3, inside.shape)).astype(np.float32)
    voxels = {1: np.argwhere(inside).astype(np.int32)}
    grid = Grid((20, 20, 20), np.eye(4))
    return Prepared(f"ball_{seed}", image[None], inside.astype(np.uint8), voxels, grid)


def job(folder: Path, *, steps: int | None = None, seconds: float | None = None, **settings) -> Job:
    """A run on balls."""
    adamw = Optimisation(method="adamw", learning_rate=0.01)
    values = {"optimisation": adamw, "log_steps": 1, "validations": 1}
    return Job(
        plan=PLAN,
        settings=Training(**{**values, **settings}),
        train=[ball(n) for n in range(4)],
        validation=[ball(n) for n in range(10, 12)],
        budget=Budget(steps=steps, seconds=seconds),
        folder=folder,
        device=torch.device("cpu"),
    )
