"""Plans, training sets, networks and scans for the tests of looking at less."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.segmenter import Segmenter
from volunet.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume

CT = Intensity(scheme="set", low=-160, high=240, mean=40, sd=100)
MR = Intensity(scheme="image")
EVERYWHERE = Effort()
LESS = Effort(skip_air=True, crop=True)


def plan_of(*intensities: Intensity, spacing=(2.0, 2.0, 2.0), patch=(16, 16, 16)) -> Plan:
    return Plan(
        channels=tuple(f"channel {n}" for n in range(len(intensities))),
        labels=Labels(structures={"organ": 1, "stone": 5}, regions={"both": (1, 5)}),
        spacing=spacing,
        patch=patch,
        intensities=intensities,
        features=(4, 8),
        strides=((2, 2, 2),),
        kernels=((3, 3, 3), (3, 3, 3)),
        batch=1,
    )


def trained_on(*channels: tuple[tuple[float, float], tuple[float, float]]) -> Fingerprint:
    """A training set by the range of its images, half of them air, and of its foreground."""
    facts = tuple(
        ChannelFacts(
            image=(float(image[0]),) * 9 + tuple(np.linspace(*image, 10).tolist()),
            foreground=tuple(np.linspace(*foreground, 19).tolist()),
            count=1000,
            mean=0,
            sd=1,
        )
        for image, foreground in channels
    )
    case = CaseFacts(shape=(64,) * 3, spacing=(2.0,) * 3, channels=facts, volumes_ml={"organ": 9})
    return Fingerprint(cases={"1": case})


CT_SET = trained_on(((-1024, 1500), (-100, 200)))


class Bright(nn.Module):
    """Organ is what is brighter than a level, stone what is much brighter.

    It knows no places, so crops and strides change nothing.
    """

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, windows):
        seen = windows[:, :1] - self.level
        return torch.cat((-seen, seen, 3 * seen - 2), dim=1)


class Ramp(nn.Module):
    """Answers by the place in the window, air or not."""

    def __init__(self, patch) -> None:
        super().__init__()
        self.ramps = torch.randn(1, 3, *patch, generator=torch.Generator().manual_seed(0))

    def forward(self, windows):
        return self.ramps.expand(len(windows), -1, -1, -1, -1) * (1 + windows[:, :1].abs())


def segmenter(plan: Plan, known: Fingerprint, effort: Effort, *networks: nn.Module) -> Segmenter:
    engines = tuple(TorchEngine(network, device="cpu") for network in networks)
    return Segmenter(engines, plan, known, "model", effort)


def ball(grid: Grid, centre, radius_mm: float) -> np.ndarray:
    world = grid.to_world(np.stack(np.indices(grid.shape), axis=-1))
    return np.linalg.norm(world - grid.to_world(centre), axis=-1) < radius_mm


def ct(shape=(60, 60, 60), spacing=2.0, **bodies) -> Volume:
    """Air at -1000 HU and bodies of 40 HU, each at its centre in voxels, with its radius in mm."""
    grid = Grid(shape, np.diag([spacing, spacing, spacing, 1.0]))
    voxels = np.full(shape, -1000, dtype=np.float32)
    for centre, radius_mm in bodies.values():
        voxels[ball(grid, centre, radius_mm)] = 40
    return Volume(voxels[None], grid)
