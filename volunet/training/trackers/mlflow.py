"""A run in MLflow's store: the one that MLFLOW_TRACKING_URI names, else one in the run's folder.

MLflow's client is told its store and its run. ignite's MLflowLogger is not used: it works by
MLflow's global run, for which MLflow sets environment variables and asks git.
"""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from volunet.errors import ConfigError, MissingExtra
from volunet.io.atomic import write_text
from volunet.training.trackers.tracker import End, Parameter

EXPERIMENT = "volunet"
QUIET = ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT")
"""What is so from here on, where the environment does not say otherwise."""
UNKNOWN = re.compile(r"[^/\w.\- :]")
"""Letters that MLflow takes in no name."""
AT_ONCE = 100
"""Parameters that MLflow takes in one call."""


def import_mlflow() -> Any:
    """MLflow, which sends nothing to its makers and writes nothing to stdout.

    It is imported with its telemetry off. MONAI may have imported it before, where it is installed:
    then its telemetry has begun, but has nothing to send yet. The defaults of its settings are
    changed, and it is told to look at them again.

    Raises:
        MissingExtra: it is not installed.
    """
    said = QUIET[0] in os.environ
    os.environ.setdefault(QUIET[0], "true")
    try:
        import mlflow
        from mlflow import environment_variables, telemetry
    except ImportError as error:
        raise MissingExtra("Tracking by mlflow", "track") from error
    finally:
        if not said:
            del os.environ[QUIET[0]]
    for variable in QUIET:
        getattr(environment_variables, variable).default = True
    telemetry.set_telemetry_client()
    return mlflow


class MlflowRun:
    """Follows a run as one of MLflow's, which goes on when the run does.

    Args:
        folder: of the run; `mlflow/` in it has the store and the run's id.
        step: steps taken before. MLflow takes no point back, so that a curve goes on after the
            last point that it has.
        parameters: kept once.

    Raises:
        ConfigError: the store cannot be opened.
        MissingExtra: MLflow is not installed.
    """

    def __init__(self, folder: Path, step: int, parameters: Mapping[str, Parameter]) -> None:
        self._place, self._steps = folder / "mlflow", dict[str, int]()
        self._place.mkdir(exist_ok=True)
        with _advised():
            self._client = import_mlflow().MlflowClient(tracking_uri=self._address())
            self._id = self._known() or self._begin(folder.resolve().name, parameters)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve that is named and has not come as far."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        named = {_allowed(name): value for name, value in values.items()}
        new = {name: v for name, v in named.items() if step > self._steps.get(name, -1)}
        self._client.log_batch(self._id, [Metric(name, v, now, step) for name, v in new.items()])

    def close(self, end: End) -> None:
        """Tells how the run ended."""
        self._client.set_terminated(self._id, end)

    def _address(self) -> str | None:
        """Of the store; None where the environment says it."""
        if os.environ.get("MLFLOW_TRACKING_URI"):
            return None
        path = (self._place / "mlflow.db").resolve().as_posix()
        return f"sqlite:///{path}".replace("%", "%25").replace("?", "%3F")

    def _known(self) -> str | None:
        """The run that an earlier sitting began in this store, and how far its curves came."""
        from mlflow.exceptions import MlflowException

        kept = self._place / "run_id.txt"
        if not kept.is_file():
            return None
        try:
            run = self._client.get_run(kept.read_text(encoding="utf-8").strip())
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        if run.info.lifecycle_stage != "active":
            return None
        identity = str(run.info.run_id)
        for name in run.data.metrics:
            points = self._client.get_metric_history(identity, name)
            self._steps[name] = max(point.step for point in points)
        self._client.update_run(identity, status="RUNNING")
        return identity

    def _begin(self, name: str, parameters: Mapping[str, Parameter]) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(self._experiment(), run_name=name)
        identity = str(run.info.run_id)
        params = [Param(UNKNOWN.sub("_", key), str(value)) for key, value in parameters.items()]
        for first in range(0, len(params), AT_ONCE):
            self._client.log_batch(identity, params=params[first : first + AT_ONCE])
        write_text(self._place / "run_id.txt", identity + "\n")
        return identity

    def _experiment(self) -> str:
        """The experiment that the environment names, else ours."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        own = self._address() is not None
        files = (self._place / "files").resolve().as_uri() if own else None
        return str(self._client.create_experiment(name, artifact_location=files))


def _allowed(name: str) -> str:
    """A curve's name in letters that MLflow takes; "/" only behind a measure."""
    first, *rest = name.split("/", 1)
    return "/".join([first, *(re.sub(r"[^\w.\- ]|^\.+$", "_", part) for part in rest)])


@contextmanager
def _advised() -> Iterator[None]:
    """Opens a store without what MLflow and its packages tell of it, or says what to do.

    Raises:
        ConfigError: MLflow raised an error of its own.
    """
    log = logging.getLogger("mlflow")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from_mlflow = import_mlflow().MlflowException
        log.setLevel(logging.WARNING)
        try:
            yield
        except from_mlflow as error:
            raise ConfigError(
                f"MLflow's store cannot be opened: {error}. Set MLFLOW_TRACKING_URI to a store "
                "that answers, or leave --track mlflow out."
            ) from error
        finally:
            log.setLevel(level)
