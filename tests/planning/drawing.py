"""Facts and plans that the tests of planning draw from."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import strategies as st

from volunet.planning.fingerprint import (
    CaseFacts,
    Fingerprint,
    take_facts,
    take_target_facts,
)
from volunet.planning.intensity import Intensity
from volunet.planning.machine import Machine
from volunet.planning.plan import Plan
from volunet.planning.rules import choose_kernels, choose_strides
from volunet.planning.targets import Targets
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume

LABELS = Labels(structures={"one": 1, "two": 2})
NO_LABELS = Labels(structures={})
SMALL = Machine("cpu", 2, 8.0)
GPU = Machine("cuda", 8, 80.0)


def case_facts(shape, spacing=(1.0, 1.0, 1.0)) -> CaseFacts:
    """Facts of a case whose intensities do not matter."""
    return CaseFacts(shape=shape, spacing=spacing, channels=(), volumes_ml={})


def fingerprint_of(*cases, n: int = 3) -> Fingerprint:
    """Each (shape, spacing) given, `n` times, or all cases as they are."""
    facts = [case_facts(*case) for case in cases for _ in range(n)]
    return Fingerprint(cases={f"c{i}": fact for i, fact in enumerate(facts)})


def labelled_case(rng: np.random.Generator, *, channels: int = 1, spread: float = 50.0):
    """An image of noise about a mean of its own, its label map, and the labelled intensities."""
    shape = tuple(rng.integers(6, 12, 3).tolist())
    grid = Grid(shape, np.diag([*rng.uniform(0.5, 3, 3), 1.0]))
    image = rng.normal(rng.uniform(-100, 100), spread, (channels, *shape)).astype(np.float32)
    label = rng.integers(0, 3, (1, *shape)).astype(np.uint8)
    return Volume(image, grid), Volume(label, grid), image[:, label[0] > 0]


def seen(seeds, **how) -> tuple[Fingerprint, np.ndarray]:
    """The fingerprint of a case for each seed, and all labelled intensities (C, n)."""
    cases = [labelled_case(np.random.default_rng(seed), **how) for seed in seeds]
    facts = {
        str(seed): take_facts(image, label, LABELS)
        for seed, (image, label, _) in zip(seeds, cases, strict=True)
    }
    return Fingerprint(cases=facts), np.concatenate([inside for *_, inside in cases], axis=1)


def target_case(rng: np.random.Generator, *, targets: int = 1, finer=(1, 1, 1), channels: int = 1):
    """An image of noise about a mean of its own, and targets of other means on a finer grid."""
    shape = tuple(rng.integers(6, 12, 3).tolist())
    grid = Grid(shape, np.diag([*rng.uniform(0.5, 3, 3), 1.0]))
    fine = grid.with_shape(tuple(n * by for n, by in zip(shape, finer, strict=True)))
    made = (
        Volume((rng.normal(0, 50, (n, *g.shape)) + rng.uniform(-90, 90)).astype(np.float32), g)
        for n, g in ((channels, grid), (targets, fine))
    )
    return tuple(made)


def seen_targets(seeds, *, finer=(1, 1, 1), **how) -> tuple[Fingerprint, list, list]:
    """The fingerprint of a case with targets for each seed, the images, and the targets."""
    cases = [target_case(np.random.default_rng(seed), finer=finer, **how) for seed in seeds]
    facts = {
        str(seed): take_target_facts(image, target, finer=finer, top=0)
        for seed, (image, target) in zip(seeds, cases, strict=True)
    }
    return Fingerprint(cases=facts), [i.voxels for i, _ in cases], [t.voxels for _, t in cases]


def plan_for(**changes) -> Plan:
    """A small plan that fits together, with some of its values changed."""
    values = {
        "channels": ("MR",),
        "labels": LABELS,
        "spacing": (1.0, 1.0, 1.0),
        "patch": (32, 32, 32),
        "intensities": (Intensity(scheme="image"),),
        "features": (8, 16, 32),
        "strides": ((2, 2, 2), (2, 2, 2)),
        "kernels": ((3, 3, 3),) * 3,
        "batch": 2,
    }
    return Plan(**(values | changes))


def estimating_plan(names=("MR",), scales=(None,), *, finer=(1, 1, 1), **changes) -> Plan:
    """A small plan whose network estimates targets on the scans' own grids, or on finer ones."""
    targets = Targets(names=names, scales=scales, finer=finer)
    return plan_for(**({"labels": NO_LABELS, "targets": targets, "respace": False} | changes))


def round_up(patch, strides):
    """The patch, each axis grown to the next multiple of what the strides divide it by."""
    divisors = [prod(axis) for axis in zip(*strides, strict=True)]
    return tuple(-(-n // d) * d for n, d in zip(patch, divisors, strict=True))


seeds = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6, unique=True)


def choose_stages(patch, spacing):
    """Strides of every stage after the first, and kernels of every stage."""
    strides = choose_strides(patch, spacing)
    return strides, choose_kernels(spacing, strides)
