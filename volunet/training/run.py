"""A run in progress: its parts, its clock, its source of randomness, and what it has seen.

All that a run needs to go on after it was killed is in `state_dict`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from volunet.data.augment import apply_change, draw_change, source_size, swap_drawn
from volunet.data.augmentation import Augmentation
from volunet.data.cache import Prepared
from volunet.data.rarity import Repeats, count_repeats
from volunet.data.sampler import Batch, cut_patches, draw_patches
from volunet.errors import ConfigError, TrainingDiverged
from volunet.planning.network_plan import Size
from volunet.planning.plan import Plan
from volunet.space.box import Box
from volunet.training.budget import Clock
from volunet.training.engine import Parts, Step
from volunet.training.optim import rate_at, set_rate
from volunet.training.processes import SharedTime
from volunet.training.settings import Training


@dataclass
class Run:
    """A run in progress.

    Args:
        train: the prepared cases it learns from.
        rng: draws patches and changes; each process has its own.
        now: the time, which all processes agree on after each step.
        drawing_s: seconds spent on drawing, cutting and changing patches.
        stepping_s: seconds spent on steps, drawing included.
        scored_s: seconds spent on validations between steps.
        validations: scores of each structure or target, by the steps taken before and by the place
            of a case among those held out.
        unread: steps whose loss has not been looked at.
        pieces: that a batch is worked through in.
        notes: what somebody should know of how it goes, in sentences; the first `told` are told.
    """

    plan: Plan
    settings: Training
    parts: Parts
    clock: Clock
    train: list[Prepared]
    rng: np.random.Generator
    now: SharedTime
    drawing_s: float = 0.0
    stepping_s: float = 0.0
    scored_s: float = 0.0
    validated: int = 0
    validations: dict[int, dict[int, list[float]]] = field(default_factory=dict)
    unread: list[Step] = field(default_factory=list)
    pieces: int = 1
    notes: list[str] = field(default_factory=list)
    told: int = 0
    _started: float = 0.0

    def note(self, sentence: str) -> None:
        """Keeps what somebody should know, for the next line of the history."""
        self.notes.append(sentence)

    def note_once(self, sentence: str) -> None:
        """The same, unless it is kept already."""
        if sentence not in self.notes:
            self.note(sentence)

    def begin_clock(self) -> None:
        """Counts the time of this sitting from now on, which all processes agree on."""
        self.now.agree(wish=self.now.stop)
        self.clock.begin()

    def note_pieces(self, sentence: str, pieces: int) -> None:
        """Keeps that batches are worked through in so many pieces from now on."""
        self.pieces = pieces
        self.note(sentence)

    def untold(self) -> tuple[str, ...]:
        """The notes since the last call."""
        new = tuple(self.notes[self.told :])
        self.told = len(self.notes)
        return new

    @property
    def rate(self) -> float:
        """The learning rate at this moment."""
        return rate_at(self.clock.progress, self.settings.optimisation)

    def batches(self) -> Iterator[Batch]:
        """Batches on the device, until the budget is spent; the learning rate goes with them."""
        while self.clock.progress < 1:
            started = time.monotonic()
            set_rate(self.parts.optimizer, self.rate)
            batch = self._draw()
            self.drawing_s += time.monotonic() - started
            self._started = started
            yield batch

    @property
    def passes(self) -> float:
        """Patches that were drawn so far for each case, by all processes."""
        drawn = self.clock.step * self.plan.batch * self.now.processes.count
        return drawn / len(self.train)

    @cached_property
    def _repeats(self) -> Repeats:
        classes = [{c for c in case.foreground if c > 0} for case in self.train]
        return count_repeats(classes, rare_below=self.settings.rare_below)

    @cached_property
    def _augmentation(self) -> Augmentation:
        asked = self.settings.augmentation
        if self.plan.targets is None:
            return asked
        return asked.for_targets(corrects=self.plan.corrects)

    def _draw(self) -> Batch:
        plan, settings = self.plan, self._augmentation
        margin, patch = plan.margin, self.settings.growth.patch_at(self.clock.progress, plan)
        wide = _wider(patch, margin)
        how: dict[str, Any] = {"flat": plan.flat, "passes": self.passes}
        source = source_size(settings, wide, plan.spacing, **how)
        share = self.settings.foreground_share
        draws = draw_patches(
            self.train,
            patch,
            plan.batch,
            foreground_share=share,
            rng=self.rng,
            repeats=self._repeats,
        )
        change = draw_change(settings, plan.batch, plan.spacing, self.rng, **how)
        cut = cut_patches(self.train, draws, patch, source=source, mirrored=any(margin))
        swaps, device = _swaps(plan), self.parts.device
        image, label = apply_change(
            change,
            cut.image.to(device, non_blocking=True),
            cut.label.to(device, non_blocking=True),
            wide,
            swaps=swaps,
        )
        inner = Box(margin, tuple(m + p for m, p in zip(margin, patch, strict=True)))
        label = label[inner.index]
        drawn = swap_drawn(change, cut.drawn, swaps)
        drawn = None if drawn is None else drawn.to(device, non_blocking=True)
        return Batch(image, label, cut.case_ids, drawn)

    def note_step(self, step: Step) -> None:
        """Counts a step that was just taken, and takes its weights into the average."""
        self.stepping_s += time.monotonic() - self._started
        self.clock.tick()
        self.parts.average.update(self.clock.step)
        self.unread.append(step)

    def read_losses(self) -> tuple[float, float] | None:
        """Mean loss and gradient norm since the last call; None where no step was taken.

        Raises:
            TrainingDiverged: as `check_losses`.
        """
        losses, norms = self.check_losses()
        self.unread.clear()
        return (float(np.mean(losses)), float(np.mean(norms))) if losses else None

    def check_losses(self) -> tuple[list[float], list[float]]:
        """Losses and gradient norms that were not read.

        Raises:
            TrainingDiverged: a loss or gradient is not finite; the cases of its batch are named.
        """
        if not self.unread:
            return [], []
        losses = torch.stack([step.loss for step in self.unread]).tolist()
        norms = torch.stack([step.grad_norm for step in self.unread]).tolist()
        for loss, norm, step in zip(losses, norms, self.unread, strict=True):
            if not (isfinite(loss) and isfinite(norm)):
                of = " (those of this process)" * self.now.processes.several
                raise TrainingDiverged(
                    f"The loss is {loss} and its gradient {norm} near step {self.clock.step}, on "
                    f"the cases {', '.join(sorted(set(step.case_ids)))}{of}. Look at these cases "
                    "or lower training.optimisation.learning_rate, and start in a new folder."
                )
        return losses, norms

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and text from which `load_state_dict` goes on.

        All processes make it together, and it is the same for all.
        """
        return {
            "format": 1,
            "step": self.clock.step,
            "spent_s": self.clock.spent_s,
            "reserved_s": self.clock.reserved_s,
            "validated": self.validated,
            "validations": self.validations,
            "drawing_s": self.drawing_s,
            "stepping_s": self.stepping_s,
            "scored_s": self.scored_s,
            "notes": self.notes,
            "pieces": self.pieces,
            "module": self.parts.module.state_dict(),
            "average": self.parts.average.state_dict(),
            "optimizer": self.parts.optimizer.state_dict(),
            "rngs": self.now.processes.gathered(self.rng.bit_generator.state),
            "torch_rng": torch.get_rng_state(),
            "device_rngs": self.now.processes.gathered(self._device_rng()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave.

        Raises:
            ConfigError: other numbers of processes took the steps so far.
        """
        processes, rngs = self.now.processes, state["rngs"]
        if len(rngs) != processes.count:
            raise ConfigError(
                f"This run was trained by {len(rngs)} processes so far, and there are "
                f"{processes.count}. Start {len(rngs)} again, or begin in another folder."
            )
        self.clock = Clock(
            self.clock.budget, step=state["step"], spent_s=state["spent_s"], now=self.now
        )
        self.clock.reserve(state["reserved_s"])
        self.validated = state["validated"]
        self.validations = dict(state.get("validations", {}))  # not kept by versions before 0.1.0
        self.drawing_s, self.stepping_s = state["drawing_s"], state["stepping_s"]
        self.scored_s = state.get("scored_s", 0.0)  # not kept by versions before 0.1.0
        self.notes, self.told = list(state["notes"]), len(state["notes"])
        self.pieces = state["pieces"]
        self.parts.module.load_state_dict(state["module"])
        self.parts.average.load_state_dict(state["average"])
        self.parts.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = rngs[processes.rank]
        torch.set_rng_state(state["torch_rng"].cpu())
        drawn = state["device_rngs"][processes.rank] if "device_rngs" in state else torch.empty(0)
        if self.parts.device.type == "cuda" and drawn.numel():  # else it came from a CPU
            torch.cuda.set_rng_state(drawn.cpu(), self.parts.device)

    def _device_rng(self) -> Tensor:
        """What a GPU draws dropout from; nothing where the CPU does."""
        device = self.parts.device
        return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0)


def _wider(patch: Size, margin: Size) -> Size:
    r, a, s = (p + 2 * around for p, around in zip(patch, margin, strict=True))
    return r, a, s


def _swaps(plan: Plan) -> tuple[tuple[int, int], ...]:
    """Class indices of left-right pairs."""
    index = {name: place + 1 for place, name in enumerate(plan.labels.names)}
    return tuple((index[one], index[other]) for one, other in plan.labels.pairs)
