"""A network that says what is to be added to some of its channels, as one that says the sum.

Source: residual learning, Zhang et al. 2017 (arXiv:1608.03981).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor, nn


class Correcting(nn.Module):
    """Takes (B, C, *S) and answers (B, T, *S): what `net` says, and the channels it corrects.

    Wraps the network rather than changing it: what is saved is the bare `net`, and inference adds
    the channels to the stitched map.

    Args:
        channels: the channel that each of the net's answers is added to.
    """

    def __init__(self, net: nn.Module, channels: Sequence[int]) -> None:
        super().__init__()
        self.net, self.channels = net, list(channels)

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.net(x)
        seen = x[:, self.channels]
        for axis, (n, m) in enumerate(zip(x.shape[2:], said.shape[2:], strict=True), start=2):
            seen = seen.narrow(axis, (n - m) // 2, m)  # where the network loses a margin
        return said + seen


def begin_with_nothing(net: nn.Module, head: Collection[str]) -> bool:
    """Sets the weights of a network's head to 0, so that at first it corrects nothing.

    A head of several layers is left alone: at 0 none of them would have a slope.

    Args:
        head: their names.

    Returns:
        Whether it was done.
    """
    if len({name.rpartition(".")[0] for name in head}) != 1:
        return False
    for name in head:
        nn.init.zeros_(net.get_parameter(name))
    return True
