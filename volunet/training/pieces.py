"""The gradients of a batch, in as many pieces as the memory asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from volunet.data.sampler import Batch
from volunet.errors import OutOfMemory
from volunet.planning.machine import is_out_of_memory
from volunet.training.short_memory import SMALLER

Gradients = Callable[[Batch, float], Tensor]


class Pieces:
    """Halves a batch until it fits the memory, and keeps to that.

    The gradients of the pieces are added up, each by its share of the batch. A loss that looks at
    the whole batch, such as Dice over it, then looks at each piece alone.

    Args:
        gradients: adds a piece's gradients, times its share of the batch, to those that are there;
            gives its loss, times that share.
        clear: forgets all gradients.
        may_cut: a batch may be cut; not where processes that train together would go out of step.
        count: of pieces to begin with.
        tell: is told when a batch is cut smaller, and into how many pieces.
    """

    def __init__(
        self,
        gradients: Gradients,
        *,
        clear: Callable[[], None],
        may_cut: bool = True,
        count: int = 1,
        tell: Callable[[str, int], None],
    ) -> None:
        self.count = count
        self._gradients, self._clear = gradients, clear
        self._may_cut, self._tell = may_cut, tell

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of a batch, a scalar, its gradients left in the weights.

        Raises:
            OutOfMemory: one patch alone does not fit.
        """
        while True:
            try:
                return self._of_all(batch)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(batch.case_ids), error)

    def _of_all(self, batch: Batch) -> Tensor:
        self._clear()
        patches = len(batch.case_ids)
        losses = [
            self._gradients(piece, len(piece.case_ids) / patches)
            for piece in cut(batch, self.count)
        ]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _halve(self, patches: int, error: Exception) -> None:
        self._clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not self._may_cut and patches > 1:
            raise OutOfMemory(
                f"A batch of {patches} does not fit the memory, and only a process that trains "
                f"alone can work it through in pieces. Set a smaller plan.batch {SMALLER}."
            ) from error
        if self.count >= patches:
            raise OutOfMemory(
                "Not even one patch fits the memory. Set a smaller plan.patch or plan.features "
                f"{SMALLER}, or use a machine with more memory."
            ) from error
        self.count = min(2 * self.count, patches)
        self._tell(
            f"The batch of {patches} did not fit the memory: it is worked through in "
            f"{self.count} pieces from now on, which is slower, and Dice is that of each piece. "
            "A smaller plan.batch would not be slower.",
            self.count,
        )


def cut(batch: Batch, pieces: int) -> Iterator[Batch]:
    """A batch in so many pieces, as even as can be."""
    if pieces == 1:
        yield batch
        return
    places = torch.arange(len(batch.case_ids)).tensor_split(pieces)
    for first, last in ((int(p[0]), int(p[-1]) + 1) for p in places):
        drawn = None if batch.drawn is None else batch.drawn[first:last]
        yield Batch(
            batch.image[first:last], batch.label[first:last], batch.case_ids[first:last], drawn
        )
