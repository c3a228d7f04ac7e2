"""The lines of a run's history, followed by TensorBoard and MLflow as well (extra `track`).

Names of curves are the columns of `history.csv`, and `val_dice/NAME` for each structure, or
`val_psnr_db/NAME` for each target. They are written here, not at ignite's events, as lines of the
history come before and after steps too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from volunet.errors import ConfigError, MissingExtra, Stopped
from volunet.training.handlers import Progress, Report
from volunet.training.trackers.tracker import End, Parameter, Tracker

logger = logging.getLogger(__name__)

PACKAGES = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
"""What each tracker needs: of MLflow's stores only a database is kept up."""
OF_STEPS = ("loss", "learning_rate", "grad_norm")
"""Curves that have a point for each line; those of scores have one for each validation."""
LONGEST = 5000
"""Characters of a parameter; MLflow cuts longer ones and warns."""


@dataclass(frozen=True)
class Tracking:
    """Who follows a run, beside its own history.

    Args:
        by: "tensorboard", "mlflow" or both; () for nobody.
        parameters: what the run is made with, as `name_parameters` gives it.
    """

    by: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


NOBODY = Tracking()


def check_trackers(names: Sequence[str]) -> None:
    """Sees to it that a run can be followed so; [] is always well.

    Raises:
        ConfigError: a name that no tracker has.
        MissingExtra: a package that a tracker needs is not installed.
    """
    for name in names:
        if name not in PACKAGES:
            raise ConfigError(f"--track is one of {', '.join(PACKAGES)}, got {name!r}.")
        if any(find_spec(package) is None for package in PACKAGES[name]):
            raise MissingExtra(f"Tracking by {name}", "track")


def name_parameters(values: Mapping[str, Any], *, within: str = "") -> dict[str, Parameter]:
    """Nested values under dotted names; lists and labels as JSON, nothing for None and "".

    >>> name_parameters({"seed": 0, "plan": {"patch": [8, 8, 8], "batch": 2}, "licence": ""})
    {'seed': 0, 'plan.patch': '[8, 8, 8]', 'plan.batch': 2}
    """
    named: dict[str, Parameter] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name != "labels":
            named |= name_parameters(value, within=f"{within}{name}.")
        elif isinstance(value, int | float):
            named[within + name] = value
        elif value is not None and value != "":
            text = value if isinstance(value, str) else json.dumps(value)
            named[within + name] = text[:LONGEST]
    return named


def values_of(progress: Progress) -> dict[str, float]:
    """What a line of the history adds to the curves, by their names; nothing that is unknown."""
    row = progress.row
    values = dict(zip(OF_STEPS, (row.loss, row.learning_rate, row.grad_norm), strict=True))
    if (score := progress.score) is not None:
        column = score.measure.column
        values |= {column: row.score, **{f"{column}/{name}": s for name, s in score.each.items()}}
    return {name: value for name, value in values.items() if value is not None and isfinite(value)}


class Followers:
    """Tells trackers of every line, and goes on training where one of them cannot keep it.

    Args:
        report: is told of every line too.
        step: steps taken before, whose lines were told.
    """

    def __init__(self, report: Report, step: int = 0) -> None:
        self._report = report
        self._trackers: dict[str, Tracker] = {}
        self._steps = dict.fromkeys(OF_STEPS, step)
        self.lost: tuple[str, ...] = ()

    def add(self, name: str, tracker: Tracker) -> None:
        """Tells one more from now on."""
        self._trackers[name] = tracker

    def report(self, progress: Progress) -> None:
        """Adds a line to every curve, one point a step, and passes it on."""
        step = progress.row.step
        values = values_of(progress)
        new = {name: v for name, v in values.items() if step > self._steps.get(name, -1)}
        self._steps |= dict.fromkeys(new, step)
        lost = tuple(filter(None, [self._tell(name, step, new) for name in [*self._trackers]]))
        self.lost += lost
        self._report(replace(progress, notes=(*progress.notes, *lost)))

    def _tell(self, name: str, step: int, values: Mapping[str, float]) -> str | None:
        """Why a tracker is told no more, if it is so."""
        try:
            self._trackers[name].write(step, values)
        except Exception as error:  # a full disk or a server that is away ends no training
            self.close_one(name, "FAILED")
            return f"{name} follows no more from step {step} on: {type(error).__name__}: {error}"
        return None

    def close(self, end: End) -> None:
        """Ends all trackers."""
        for name in [*self._trackers]:
            self.close_one(name, end)

    def close_one(self, name: str, end: End) -> None:
        """Ends a tracker; one that cannot end is let go with a warning in the log."""
        try:
            self._trackers.pop(name).close(end)
        except Exception as error:
            logger.warning("%s did not end: %s: %s", name, type(error).__name__, error)


@contextmanager
def followed(tracking: Tracking, folder: Path, *, step: int, report: Report) -> Iterator[Followers]:
    """A run that trackers follow from `step` on, for as long as the block lasts.

    Args:
        folder: of the run; what they write lies in it.
        step: steps taken before; points after it that an earlier sitting left are given up.
        report: is told of every line as well.

    Raises:
        ConfigError: a tracker's own store cannot be opened.
        MissingExtra: a package is not installed.
    """
    check_trackers(tracking.by)
    followers = Followers(report, step)
    end: End = "FAILED"
    try:
        for name in dict.fromkeys(tracking.by):
            followers.add(name, _opening(name)(folder, step, tracking.parameters))
        yield followers
        end = "FINISHED"
    except (Stopped, KeyboardInterrupt):
        end = "KILLED"
        raise
    finally:
        followers.close(end)


def _opening(name: str) -> Callable[[Path, int, Mapping[str, Parameter]], Tracker]:
    if name == "tensorboard":
        from volunet.training.trackers.tensorboard import TensorBoard

        return TensorBoard
    from volunet.training.trackers.mlflow import MlflowRun

    return MlflowRun
