"""Event files that TensorBoard reads, in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from ignite.handlers.tensorboard_logger import TensorboardLogger

from volunet.training.measure import DICE
from volunet.training.trackers.tracker import End, Parameter


class TensorBoard:
    """Follows a run in `FOLDER/tensorboard`, each line on the disk as soon as it is there.

    Args:
        folder: of the run.
        step: steps taken before; TensorBoard takes back points after it.
        parameters: kept once, for its table of hyper-parameters.
    """

    def __init__(self, folder: Path, step: int, parameters: Mapping[str, Parameter]) -> None:
        place = folder / "tensorboard"
        begun = place.is_dir() and any(place.iterdir())
        self._logger = TensorboardLogger(log_dir=str(place), purge_step=step + 1 if begun else None)
        if not begun:
            self._keep(parameters)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve that is named."""
        for name, value in values.items():
            self._logger.writer.add_scalar(name, value, step)
        self._logger.writer.flush()

    def close(self, end: End) -> None:
        """Closes the file."""
        self._logger.close()

    def _keep(self, parameters: Mapping[str, Parameter]) -> None:
        """In the curves' own file: TensorBoard, as it watches, follows one file of a folder.

        ignite writes by tensorboardX where that is installed, else by torch; each has a module
        `summary` beside its writer, which makes what fits it.
        """
        writer = self._logger.writer
        summary = import_module(type(writer).__module__.rpartition(".")[0] + ".summary")
        measure = str(parameters.get("measure", DICE.column))
        for part in summary.hparams(dict(parameters), {measure: 0.0}):
            writer.file_writer.add_summary(part)
