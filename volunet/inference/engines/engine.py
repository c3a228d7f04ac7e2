"""What inference asks of whatever runs a network, and what engines are told about the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

from volunet.inference.rule import MOST_LIKELY, Rule
from volunet.models.sizes import Sizes

Precision = Literal["fp32", "bf16", "fp16"]


class Engine(Protocol):
    """Windows (B, C, *patch) to logits (B, classes, *patch), both float32.

    A network without padding sees a margin around the patch too.

    The windows lie in the computer's memory. The logits may stay on the engine's device and have
    any memory layout; the engine may write the next answer into the same tensor.
    """

    def __call__(self, windows: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Network:
    """A network that several engines can run.

    Args:
        module: (B, channels, *patch) to (B, classes, *patch).
        patch: the only size of window it will be given, its margin included.
        identity: SHA-256 of its structure and weights, under which conversions of it are kept;
            "" where nobody knows, and nothing is kept.
        rule: how its logits make classes.
    """

    module: nn.Module
    channels: int
    patch: tuple[int, ...]
    identity: str = ""
    rule: Rule = MOST_LIKELY

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The least windows (1, channels, *S) that show what the network does."""
        sizes: Sizes | None = getattr(self.module, "sizes", None)
        if sizes is None:
            return 1, self.channels, *self.patch
        shown = sizes.at_least(2 * n for n in sizes.step)
        return 1, self.channels, *map(min, shown, self.patch)
