"""What a training run is asked for, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from volunet.api.planning import Counted, quiet
from volunet.cohort.lock import Lock
from volunet.data.splits import Split
from volunet.errors import ConfigError, Stopped
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.training.handlers import Progress


@dataclass(frozen=True)
class Watch:
    """Who is told how a run goes; by default nobody.

    Args:
        say: a sentence about what begins or is done.
        counted: what is done, how many of it, of how many.
        report: a line of the history.
        should_stop: asked after every step of training, and after every held-out case.
    """

    say: Callable[[str], None] = lambda _: None
    counted: Counted = quiet
    report: Callable[[Progress], None] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False

    def while_held(self, lock: Lock) -> Watch:
        """The same, that sees to it now and then that the lock is still this process's."""

        def should_stop() -> bool:
            lock.refresh_now_and_then()
            return self.should_stop()

        return replace(self, should_stop=should_stop)

    def count(self, what: str, done: int, total: int) -> None:
        """Tells how much is done after training, and stops where that is asked for.

        Raises:
            Stopped: `should_stop` said so.
        """
        self.counted(what, done, total)
        if self.should_stop():
            raise Stopped(f"Stopped while {what}; the model is kept, and the same command goes on.")


@dataclass(frozen=True)
class Wanted:
    """What a run is asked for, beside its dataset and recipe.

    Args:
        fold: of five, or of `splits`; None holds out one part in five.
        split: both sides, in place of `fold` and `splits`.
        planned: the plan, and what it was made from, where that is decided already, as for the
            folds of a cross-validation, whose cases were looked through together.
        splits: a splits_final.json.
        seed: of split, weights and draws; 0 or more.
        device: "cpu", "cuda", "mps"; None for the best there is.
        accept: codes of refusals to waive.
        cache: folder of prepared cases; None for the user's cache.
        start: a model to start from; None for weights drawn at random.
        encoder_weights: a file of weights for the encoder alone, in a published layout.
        track: "tensorboard", "mlflow" or both, which follow the run and change nothing of it.
    """

    fold: int | None = None
    split: Split | None = None
    planned: tuple[Plan, Fingerprint] | None = None
    splits: Path | None = None
    seed: int = 0
    device: str | None = None
    accept: tuple[str, ...] = ()
    cache: Path | None = None
    start: Path | None = None
    encoder_weights: Path | None = None
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ConfigError where the seed is none."""
        if self.seed < 0:
            raise ConfigError(f"A seed is a whole number from 0 on, and {self.seed} is below.")
