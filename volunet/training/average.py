"""A running average of the weights, which is what a run gives away.

The average reaches back over a fixed share of the steps so far, whatever the length of the run
(the power form of Karras et al. 2024, arXiv:2312.02696, eq. 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The averaged weights of a network.

    Args:
        network: whose weights are averaged, and running statistics like weights.
        power: how fast old weights fade; the average reaches back over about 1 / power of the
            steps taken.
    """

    def __init__(self, network: nn.Module, *, power: float) -> None:
        self.network, self.power = network, power
        self.weights = {name: w.detach().clone() for name, w in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the network's weights after `step` steps (counted from 1) into the average."""
        keep = (1 - 1 / step) ** self.power
        live = self.network.state_dict()
        counted = [name for name, w in live.items() if not w.is_floating_point()]
        for name in counted:  # such as batches that a normalisation has seen
            self.weights[name].copy_(live.pop(name))
        averaged = [self.weights[name] for name in live]
        torch._foreach_lerp_(averaged, list(live.values()), 1 - keep)

    @contextmanager
    def in_place(self) -> Iterator[nn.Module]:
        """The network with the averaged weights, in evaluation mode, for as long as it is used."""
        live = {name: w.detach().clone() for name, w in self.network.state_dict().items()}
        training = self.network.training
        self.network.load_state_dict(self.weights)
        self.network.eval()
        try:
            yield self.network
        finally:
            self.network.load_state_dict(live)
            self.network.train(training)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return self.weights

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Goes on from weights that `state_dict` gave."""
        for name, weight in weights.items():
            self.weights[name].copy_(weight)
