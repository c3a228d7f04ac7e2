"""How long each step of a path takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from volunet.inference.engines.engine import Engine


class Clock:
    """Seconds by step; a step that runs inside another is counted for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.windows = 0
        self._inner = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Counts the time until it ends for `name`."""
        started = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = time.perf_counter() - started
            own = took - self._inner.pop()
            self._inner[-1] += took
            self.seconds[name] = self.seconds.get(name, 0.0) + own

    def around(self, engine: Engine) -> Engine:
        """The engine, its time counted as the network's."""

        def timed(windows: Tensor, /) -> Tensor:
            with self.step("network"):
                self.windows += len(windows)
                return engine(windows)

        return timed
