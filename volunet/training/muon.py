"""Muon: momentum made orthogonal, for weights that are matrices; AdamW for all others.

Source: Jordan 2024 (https://kellerjordan.github.io/posts/muon), with the scale of Liu et al. 2025
(arXiv:2502.16982), which gives an update the size of AdamW's, so that one learning rate and one
weight decay serve both. `torch.optim.Muon` takes two-dimensional weights only; here the kernels of
a convolution are the rows of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

ROUNDS = 5
"""Newton-Schulz rounds."""
FACTORS = (3.4445, -4.7750, 2.0315)
"""Of Jordan's quintic, which brings singular values to between about 0.7 and 1.2 in five rounds."""
RMS_OF_ADAMW = 0.2
"""Root mean square of an update of AdamW, by Liu et al."""


class Muon(Optimizer):
    """Muon for the groups that say `"matrices": True`, AdamW for the others.

    Args:
        groups: weights with at least two axes where `matrices` is set; the first axis counts rows.
        lr: learning rate of both.
        momentum: of Muon, by Nesterov.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "matrices": False})
        self.momentum = momentum
        others = [group for group in self.param_groups if not group["matrices"]]
        self._adamw = AdamW(others, lr=lr) if others else None
        if self._adamw is not None:
            # The same groups and the same state: this optimiser's checkpoint holds both.
            self._adamw.param_groups, self._adamw.state = others, self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves every weight that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            if group["matrices"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._move(weight, weight.grad, group["lr"], group["weight_decay"])
        if self._adamw is not None:
            self._adamw.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        super().load_state_dict(state_dict)
        if self._adamw is not None:
            others = [group for group in self.param_groups if not group["matrices"]]
            self._adamw.param_groups, self._adamw.state = others, self.state

    def _move(self, weight: nn.Parameter, grad: Tensor, lr: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(grad)
        state["momentum"].lerp_(grad, 1 - self.momentum)
        wanted = grad.lerp(state["momentum"], self.momentum).flatten(1)
        scale: float = RMS_OF_ADAMW * max(wanted.shape) ** 0.5
        weight.mul_(1 - lr * decay)
        weight.add_(orthogonal(wanted).view(weight.shape), alpha=-lr * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix with all singular values near 1: (rows, columns), as the one that came.

    A matrix of zeros stays one. Each round multiplies x by a polynomial of x x', from the left. So
    the rounds are taken on that square alone, and their product meets the long side of x once: a
    fifth of the work where a kernel has 27 times as many numbers as channels. It is done in
    float32, in which the square has digits enough (about a thousandth of the largest number).

    Source: Jordan 2024, the Newton-Schulz iteration with a quintic polynomial.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = FACTORS
    square = x @ x.mT
    together: Tensor | None = None
    for last in (*[False] * (ROUNDS - 1), True):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        together = factor if together is None else factor @ together
        if not last:
            square = factor @ square @ factor.mT
    assert together is not None, "there is a round"
    x = torch.mm(together, x)
    return x.mT if tall else x
