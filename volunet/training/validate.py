"""Scores a network on whole prepared cases, as they will be segmented later."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from volunet.data.cache import Prepared
from volunet.errors import Stopped
from volunet.evaluation.overlap import to_classes
from volunet.evaluation.score import averaged_dice
from volunet.evaluation.values import psnr_db
from volunet.inference.cover import classify
from volunet.inference.effort import Effort, Wanted
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.estimating import estimate
from volunet.planning.machine import is_out_of_memory
from volunet.planning.plan import Plan
from volunet.space.box import Box
from volunet.training.measure import DICE, Measure

MOST_DB = 200.0
TOO_LARGE = (
    "Case {} does not fit the memory while the network trains, and has no score in validations on "
    "the way; its mask is made and scored at the end."
)


@dataclass(frozen=True, slots=True)
class Score:
    """Mean Dice of each structure over the cases where it was drawn, and occurs or was predicted.

    Of each region, where regions can be learnt.

    Or mean PSNR of each target over the cases where it is not the same everywhere.

    Args:
        each: by name, NaN for a structure that is in no case.
        cases: how many were scored.
        held_out: of how many; fewer are scored where time is up.
    """

    each: dict[str, float]
    cases: int = 0
    measure: Measure = DICE
    held_out: int = 0

    @property
    def mean(self) -> float:
        """Mean over structures or targets, NaN where none has a score."""
        known = [value for value in self.each.values() if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")

    @property
    def part(self) -> str:
        """Of how many cases it is, where not all were scored, as in "3 of 40 cases"; else ""."""
        return f"{self.cases} of {self.held_out} cases" * (self.cases < self.held_out)


def mean_score(
    rows: Sequence[Sequence[float]],
    names: Sequence[str],
    measure: Measure = DICE,
    *,
    held_out: int = 0,
) -> Score:
    """The mean of each structure or target over the cases where it has a score."""
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    scored = ~np.isnan(table)
    sums = np.where(scored, table, 0).sum(axis=0)
    counts = scored.sum(axis=0)
    means = [float(s / n) if n else nan for s, n in zip(sums, counts, strict=True)]
    return Score(dict(zip(names, means, strict=True)), len(rows), measure, held_out)


def time_a_case(
    network: nn.Module,
    case: Prepared,
    plan: Plan,
    *,
    device: torch.device,
    dtype: torch.dtype,
    after: Callable[[], None] = lambda: None,
) -> float:
    """Seconds that scoring a case takes, the second time: the first look is the slowest.

    Args:
        after: is called after each look.
    """
    started, ended, engine = 0.0, 0.0, looking(network, device, dtype)
    for _ in range(2):
        started = time.monotonic()
        score_cases(engine, [case], plan)
        ended = time.monotonic()
        after()
    return ended - started


def looking(network: nn.Module, device: torch.device, dtype: torch.dtype) -> TorchEngine:
    """A network that is still trained, as it looks at whole cases."""
    return TorchEngine(network, device=device, dtype=dtype, learning=True)


def score_cases(
    engine: TorchEngine,
    cases: Sequence[Prepared],
    plan: Plan,
    *,
    most_s: float = inf,
    tell: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[list[float] | None]:
    """The Dice of each structure or region, or the PSNR of each target, of each case, in its grid.

    NaN where a structure is in neither mask, or was not drawn, and where a target is the same
    everywhere; None for a case that does not fit the memory. PSNR is in dB, at most `MOST_DB`.

    Args:
        most_s: seconds after which no further case is begun; one at least is scored.
        tell: is told of cases that do not fit.
        should_stop: asked after each case.

    Raises:
        Stopped: `should_stop` said so.
    """
    started = time.monotonic()
    score = _dice_of_case if plan.targets is None else _psnr_of_case
    rows: list[list[float] | None] = []
    for case in cases:
        try:
            rows.append(score(engine, case, plan))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            rows.append(None)
            tell(TOO_LARGE.format(case.case_id))
        if time.monotonic() - started > most_s:
            break
        if should_stop():
            raise Stopped(
                f"Stopped after {len(rows)} of {len(cases)} cases were scored; the same command "
                "goes on."
            )
    return rows


def _windows_of(image: NDArray[np.float32]) -> Wanted | None:
    """The windows that show something: not one value all over, as air outside a body does."""

    def shows(box: Box) -> bool:
        part = image[box.index]
        return bool((part != part[:, :1, :1, :1]).any())

    return shows if shows(Box.whole(image.shape[1:])) else None


def _psnr_of_case(engine: TorchEngine, case: Prepared, plan: Plan) -> list[float]:
    found = estimate([engine], case.image, plan, Effort(overlap=plan.overlap))
    return [psnr_of(*pair) for pair in zip(case.label, found, strict=True)]


def psnr_of(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """The PSNR, at most `MOST_DB`; NaN where the reference is the same everywhere."""
    squares = np.square(reference - found, dtype=np.float64)
    span = float(reference.max()) - float(reference.min())
    return float(np.minimum(psnr_db(span, float(np.sqrt(squares.mean()))), MOST_DB))


def _dice_of_case(engine: TorchEngine, case: Prepared, plan: Plan) -> list[float]:
    labels, regions = plan.labels, plan.way_back(case.grid).regions
    classes = tuple(range(1, labels.classes))
    found = classify(
        [engine],
        case.image,
        plan.patch,
        Effort(overlap=plan.overlap),
        regions=regions,
        wanted=_windows_of(case.image),
        unpadded=plan.unpadded,
    )
    maps = to_classes(case.label, found, classes, ignore=labels.ignore_index)
    return averaged_dice(*maps, labels, case.drawn)
