"""The fastest engine that gives torch's masks, found by trying all of them on a few windows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from volunet.config import Settings
from volunet.errors import ModelError
from volunet.inference.engines.agreement import compare
from volunet.inference.engines.candidates import (
    REFERENCE,
    Candidate,
    EngineName,
    build,
    convert,
    why_not,
)
from volunet.inference.engines.engine import Engine, Network, Precision
from volunet.inference.rule import NO_CLASSES

HOPELESS = 2.0
"""An engine whose first window takes so many times the best one's time is not tried further."""

MOST_BYTES = 2**28
"""Memory for the reference's logits, beyond which engines are tried on a single window."""

FAILED = "failed"

Evidence = Literal["scan", "bare", "noise", "none"]
"""A scan that shows structures, or one that shows none, which is not enough for half precision."""


class Row(Settings):
    """What became of one engine.

    Args:
        seconds: a window takes; None where it was not tried.
        difference: largest between logits, as a share of the range of torch fp32's.
        apart: root mean square of the differences, in standard deviations of torch fp32's logits.
        equal: share of voxels with torch fp32's class.
        dice: least among the structures that occur; None where none does.
        verdict: "chosen", "slower", or why it cannot be.
    """

    engine: EngineName
    precision: Precision
    seconds: float | None = None
    difference: float | None = None
    apart: float | None = None
    equal: float | None = None
    dice: float | None = None
    verdict: str = ""

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


class Choice(Settings):
    """Which engine runs a model on this machine, and why.

    Args:
        chosen: place of the engine among the rows.
        seen: what the engines were tried on.
        sha256: of the converted network that was tried; "" for torch.
    """

    format: Literal[2] = 2
    rows: tuple[Row, ...]
    chosen: int
    seen: Evidence
    sha256: str = ""

    @property
    def winner(self) -> Candidate:
        """The engine that was chosen."""
        row = self.rows[self.chosen]
        return Candidate(row.engine, row.precision)

    def __str__(self) -> str:
        row = self.rows[self.chosen]
        pace = f" ({row.seconds:.3g} s a window)" if row.seconds is not None else ""
        aside = [f"{r} was set aside: {r.verdict}." for r in self.rows if _was_set_aside(r)]
        failed = [f"{r} {r.verdict}." for r in self.rows if r.verdict.startswith(FAILED)]
        return " ".join([f"Engine: {row}{pace}.", *aside, *failed])


class Bench:
    """Candidates for one network on one device, converted once each.

    Attributes:
        hindered: an engine failed for what may be otherwise on another day.
    """

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network, self.device = network, device
        self.hindered = False
        self._contents: dict[EngineName, bytes] = {}

    def build(self, candidate: Candidate) -> Engine:
        """The engine, of a network converted now or earlier."""
        return build(candidate, self.network, self.device, self.content(candidate))

    def content(self, candidate: Candidate) -> bytes:
        """The converted network; nothing for torch."""
        if candidate.engine not in self._contents:
            self._contents[candidate.engine] = convert(candidate.engine, self.network)
        return self._contents[candidate.engine]

    def choose(
        self,
        candidates: tuple[Candidate, ...],
        windows: Callable[[Engine], Tensor],
        *,
        seen: Evidence,
        by_time: bool = True,
    ) -> Choice:
        """Tries all candidates, the first one first.

        Args:
            windows: gives windows (B, C, *patch) to try engines on, with an engine to look for
                them.
            seen: what the windows are.
            by_time: take the fastest that agrees, else the first one.

        Raises:
            ModelError: none of them agrees.
        """
        trial = windows(self._scout(candidates))
        wanted, pace = _answers(self.build(REFERENCE), trial, again=False)
        trial = trial[: len(wanted)]
        rows: list[Row] = []
        for candidate in candidates:
            if candidate == REFERENCE:
                rows.append(row_of(candidate, seconds=pace, difference=0, apart=0, equal=1))
            else:
                best = min([pace, *(r.seconds for r in rows if r.seconds and not r.verdict)])
                rows.append(self._try(candidate, trial, wanted, best * HOPELESS))
        agreeing = [place for place, row in enumerate(rows) if not row.verdict]
        if not agreeing:
            told = "; ".join(f"{row}: {row.verdict}" for row in rows)
            raise ModelError(
                f"No engine of those asked for can run this model: {told}. Choose another engine "
                "or precision, or auto."
            )
        chosen = min(agreeing, key=lambda i: rows[i].seconds or 0) if by_time else agreeing[0]
        for place in agreeing:
            verdict = "chosen" if place == chosen else "slower" if by_time else "not needed"
            rows[place] = rows[place].model_copy(update={"verdict": verdict})
        content = self.content(Candidate(rows[chosen].engine, rows[chosen].precision))
        sha256 = hashlib.sha256(content).hexdigest() if content else ""
        unseen = all(row.dice is None for row in rows) and self.network.rule is not NO_CLASSES
        halved = rows[chosen].precision != "fp32"
        weak = unseen and (halved or any(map(_was_set_aside, rows)))
        seen = "bare" if seen == "scan" and weak else seen
        return Choice(rows=tuple(rows), chosen=chosen, seen=seen, sha256=sha256)

    def _scout(self, candidates: tuple[Candidate, ...]) -> Engine:
        """The first candidate that can be built."""
        for candidate in candidates:
            if not why_not(candidate, self.device):
                try:
                    return self.build(candidate)
                except Exception:  # it is tried again later, and why it fails is told then
                    continue
        return self.build(REFERENCE)

    def _try(self, candidate: Candidate, trial: Tensor, wanted: Tensor, limit: float) -> Row:
        if reason := why_not(candidate, self.device):
            return row_of(candidate, verdict=reason)
        try:
            answers, seconds = _answers(self.build(candidate), trial, limit)
        except Exception as error:  # whatever a converter does, another engine goes on
            self.hindered |= _may_pass(error)
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            return row_of(candidate, verdict=f"{FAILED}: {first}")
        seen = compare(answers, wanted[: len(answers)], self.network.rule)
        return row_of(
            candidate,
            seconds=seconds,
            difference=_finite(seen.difference),
            apart=_finite(seen.apart),
            equal=seen.equal,
            dice=seen.dice,
            verdict=seen.complaint(candidate.precision),
        )


def _answers(
    engine: Engine, trial: Tensor, limit: float = math.inf, *, again: bool = True
) -> tuple[Tensor, float]:
    """Logits of the windows, and the least seconds that one took.

    After a first window above the limit, or whose logits fill `MOST_BYTES`, others are left out.

    Args:
        again: look at the first window twice, as an engine's first look is its slowest.
    """
    answers, times = list[Tensor](), list[float]()
    for window in [*torch.split(trial, 1), *([trial[:1]] if again else [])]:
        start = perf_counter()
        logits = engine(window).cpu()
        times.append(perf_counter() - start)
        if len(answers) < len(trial):
            answers.append(logits.clone() if len(trial) > 1 else logits)
        if times[0] > limit or (not again and 2 * logits.nbytes > MOST_BYTES):
            break
    return torch.cat(answers) if len(answers) > 1 else answers[0], min(times)


def row_of(candidate: Candidate, **told: float | str | None) -> Row:
    """What became of a candidate."""
    return Row(engine=candidate.engine, precision=candidate.precision, **told)  # type: ignore[arg-type]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _was_set_aside(row: Row) -> bool:
    """Whether it answered, and otherwise than torch in float32."""
    return row.equal is not None and row.verdict not in ("chosen", "slower", "not needed")


def _may_pass(error: Exception) -> bool:
    """Whether an engine may have failed for lack of memory or disk, and not by what it is given."""
    return isinstance(error, OSError | MemoryError) or "memory" in str(error).lower()
