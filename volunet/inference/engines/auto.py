"""An engine that chooses among all that are installed when it first sees a scan, and remembers.

The choice, and the converted network it fell on, are kept for the user under a hash of the model,
the size of windows, the processor, the threads and all versions. A converted network that is not
the one that was tried is not used: the engines are tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volunet.errors import ModelError
from volunet.inference.engines.candidates import (
    REFERENCE,
    Candidate,
    build,
    check_able,
    list_candidates,
    narrow,
    why_not,
)
from volunet.inference.engines.choose import Bench, Choice, Evidence, row_of
from volunet.inference.engines.engine import Engine, Network
from volunet.inference.engines.kept import Kept
from volunet.inference.engines.trial import cut_windows, make_windows
from volunet.inference.engines.work import multiply_adds
from volunet.io.user_cache import cache_folder

SMALL = 2.5e9
"""Multiply-adds of a window below which converting a network takes longer than it saves."""

MOST_BARE = 3
"""Scans without a structure that engines are tried on; a choice on the last of them is kept."""


class AutoEngine:
    """The fastest engine that gives the masks of torch in float32.

    It costs nothing to make: engines are tried, or the choice recalled, once it is settled or first
    called. Several threads may call it.

    Args:
        engine: the only one to choose from; "auto" for all.
        precision: the only one to choose from; None for all.
        cache: folder of what is kept; by default in the user's own.
        tell: called with sentences about the choice.

    Raises:
        ConfigError: there is no such engine or precision on this device, or none that can run here.
        MissingExtra: the engine that is named is not installed.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        *,
        engine: str = "auto",
        precision: str | None = None,
        cache: Path | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._network, self.device = network, device
        self._all = list_candidates(device)
        self._asked = engine, precision
        self._candidates = narrow(self._all, engine, precision, device)
        check_able(self._candidates, device)
        self._kept = Kept(network, device, self._asked, cache or cache_folder("engines"))
        self._tell = tell or (lambda text: None)
        self._engine: Engine | None = None
        self._stand_in: Engine | None = None
        self._failure: str | None = None
        self._has_looked = self._narrowed = False
        self._choice: Choice | None = None
        self._bare = 0
        self._lock = threading.RLock()

    def __str__(self) -> str:
        engine = self._engine or self._stand_in
        return str(engine) if engine is not None else "not chosen yet"

    @property
    def why(self) -> str:
        """What was chosen, and what became of the others; "" before, and without a trial."""
        return "" if self._choice is None else str(self._choice)

    @property
    def possible(self) -> tuple[str, ...]:
        """The engine that was chosen, now or on another day; all that may be, until it is kept."""
        self._remember()
        if not self._is_open:
            return (str(self._engine),)
        able = [c for c in self._candidates if c.engine == "torch" or not self._is_small]
        return tuple(str(c) for c in able if not why_not(c, self.device))

    @property
    def needs_trial(self) -> bool:
        """Whether it has to be found out which engine agrees with torch in float32."""
        self._remember()
        alone = len(self._candidates) == 1 and self._candidates[0].engine == "torch"
        return self._is_open and not alone

    @property
    def may_go_untried(self) -> bool:
        """Whether one was chosen, or torch in float32 was asked for: it agrees with itself."""
        return self._engine is not None or REFERENCE in self._candidates

    @property
    def untried(self) -> str:
        """What runs a scan that leaves no memory to try engines."""
        return str(self._engine or REFERENCE)

    @property
    def _is_open(self) -> bool:
        """Whether nothing was chosen, or on too little: noise, or a few scans of no structure."""
        seen = "" if self._choice is None else self._choice.seen
        return seen in ("", "noise") or (seen == "bare" and self._bare < MOST_BARE)

    def _remember(self) -> None:
        """Makes the choice of another day, where there is one."""
        with self._lock:
            if self._choice is not None or self._has_looked:
                return
            self._has_looked = True
            if found := self._recall(scan_at_hand=True):
                self._settled(*found)

    def settle_untried(self) -> None:
        """Takes torch in float32, which agrees with itself, unless an engine was chosen.

        It holds for the scan at hand: the next one may leave room to try engines.
        """
        with self._lock:
            if self._choice is None and self._stand_in is None and self.needs_trial:
                self._stand_in = build(REFERENCE, self._network, self.device)
                self._tell(f"Engine: {REFERENCE}, as there is no memory to try others.")

    def __call__(self, windows: Tensor, /) -> Tensor:
        """Logits (B, classes, *patch), float32. The first windows settle the choice if need be."""
        engine = self._engine or self._stand_in
        if engine is None:
            self._settle_on(windows)
            engine = self._engine
        assert engine is not None
        return engine(windows)

    def settle(
        self, image: NDArray[np.float32] | None = None, *, like: AutoEngine | None = None
    ) -> Choice:
        """Chooses, unless that is done.

        Args:
            image: (C, *S), a scan as the network wants it, to try engines on. Without one it is
                noise, and the choice holds until a scan is seen.
            like: an engine of the same ensemble: what it chose is tried first, against torch.

        Raises:
            ModelError: no engine of those asked for agrees with torch; it is not tried again.
        """
        self._stand_in, every = None, self._candidates
        images = None if image is None else torch.from_numpy(image)[None]
        done = self._choice is not None and (images is None or not self._is_open)
        if like is None or done or self._failure is not None:
            return self._settle_on(images)
        winner = (like._choice or like.settle(image)).winner
        few = tuple(c for c in every if c in (winner, REFERENCE)) or every
        self._candidates, self._narrowed = few, len(few) < len(every)
        try:
            choice = self._settle_on(images)
            if choice.winner == winner or not self._narrowed:
                return choice
        except ModelError:
            if not self._narrowed:
                raise
        finally:
            self._candidates, self._narrowed = every, False
        # It does not agree here: the others were asked for as well.
        self._choice = self._engine = self._failure = None
        return self._settle_on(images)

    def _settle_on(self, images: Tensor | None) -> Choice:
        with self._lock:
            if self._failure is not None:
                raise ModelError(self._failure)
            if self._choice is None or (self._is_open and images is not None):
                bench = Bench(self._network, self.device)
                try:
                    self._settled(*self._decide(bench, images))
                except ModelError as error:
                    if not bench.hindered:  # else memory may be there for the next scan
                        self._failure = str(error)  # the error itself would keep the scan
                    raise
            assert self._choice is not None
            return self._choice

    def _settled(self, choice: Choice, engine: Engine) -> None:
        self._choice, self._engine = choice, engine
        self._bare += choice.seen == "bare"
        self._tell(str(choice))

    @cached_property
    def _is_small(self) -> bool:
        open_to_torch = self._asked[0] == "auto" and any(
            candidate.engine == "torch" for candidate in self._candidates
        )
        return open_to_torch and multiply_adds(self._network) < SMALL

    def _decide(self, bench: Bench, images: Tensor | None) -> tuple[Choice, Engine]:
        only = self._candidates[0]
        if len(self._candidates) == 1 and only.engine == "torch":
            choice = Choice(rows=(row_of(only, verdict="chosen"),), chosen=0, seen="none")
            return choice, build(only, self._network, self.device)
        if found := self._recall(images is not None):
            return found
        if self._is_small:
            choice = self._choose_small(bench, images)
        else:
            again = self._bare and "again, as the scan that was seen shows no structure"
            self._tell(f"Trying engines for this model, {again or 'once on this machine'}.")
            choice = self._try(bench, self._candidates, images)
        if not bench.hindered and not (self._narrowed and choice.winner == REFERENCE):
            self._kept.keep(choice, bench.content(choice.winner))
        return choice, bench.build(choice.winner)

    def _choose_small(self, bench: Bench, images: Tensor | None) -> Choice:
        """The first of torch's that agrees: which is faster would be a matter of chance."""
        able = tuple(c for c in self._candidates if c.engine == "torch")
        choice = self._try(bench, able, images, by_time=False)
        others = [c for c in self._candidates if c not in able]
        left_out = [row_of(c, verdict="not tried: the network is small") for c in others]
        return choice.model_copy(update={"rows": (*choice.rows, *left_out)})

    def _try(
        self,
        bench: Bench,
        candidates: tuple[Candidate, ...],
        images: Tensor | None,
        *,
        by_time: bool = True,
    ) -> Choice:
        def windows(scout: Engine) -> Tensor:
            if images is None:
                return make_windows(self._network.channels, self._network.patch)
            network = self._network
            return cut_windows(images[0], network.patch, scout, network.rule)

        seen: Evidence = "noise" if images is None else "scan"
        return bench.choose(candidates, windows, seen=seen, by_time=by_time)

    def _recall(self, scan_at_hand: bool) -> tuple[Choice, Engine] | None:
        """A choice made earlier, if its network is still the one that was tried."""
        choice = self._kept.choice()
        if choice is None or (choice.seen != "scan" and scan_at_hand):
            return None
        content, winner = self._kept.content(choice), choice.winner
        if content is None:
            return None
        try:
            return choice, build(winner, self._network, self.device, content)
        except Exception as error:  # an engine that broke since is tried again, and set aside then
            self._tell(f"{winner} does not start any more ({error}): engines are tried again.")
            return None
