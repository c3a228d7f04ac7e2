"""Weights of a trained network as the start of another one: fine-tuning.

Everything but the head is taken as it is. The head has one row for each class: a structure starts
from the row of the structure of the same name, wherever that stood, and one without a namesake from
the drawn weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from volunet.errors import ModelError
from volunet.space.labels import Labels

HEAD = ("head.weight", "head.bias")


@dataclass(frozen=True)
class Transplant:
    """What a network started from.

    Args:
        kept: structures whose row of the head was taken over.
        drawn: structures whose row is new.
        left: structures of the older network that this one does not know.
    """

    kept: tuple[str, ...]
    drawn: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        said = [f"the head knows {', '.join(self.kept) or 'no structure'}"]
        said += [f"learns {', '.join(self.drawn)}"] * bool(self.drawn)
        said += [f"forgets {', '.join(self.left)}"] * bool(self.left)
        return "; ".join(said)


def transplant(
    network: nn.Module, weights: Mapping[str, Tensor], before: Labels, now: Labels
) -> Transplant:
    """Puts weights of a network with the labels `before` into one with the labels `now`.

    Raises:
        ModelError: a weight is missing, left over, or of another shape; the network is then as it
            was.
    """
    own = network.state_dict()
    taken = {name: w for name, w in weights.items() if name not in HEAD}
    odd = sorted(set(taken) ^ (set(own) - set(HEAD)))
    odd += sorted(n for n in taken if n in own and taken[n].shape != own[n].shape)
    if odd or any(name not in weights for name in HEAD):
        raise ModelError(
            f"The weights are those of another network: {', '.join(odd[:4]) or 'no head'}"
            f"{' ...' if len(odd) > 4 else ''} do not fit."
        )
    kept = [name for name in now.names if name in before.names]
    pairs = [(0, 0), *((now.names.index(n) + 1, before.names.index(n) + 1) for n in kept)]
    to, of = (torch.tensor(side) for side in zip(*pairs, strict=True))
    for name in HEAD:
        rows = own[name].clone()
        rows[to] = weights[name].to(rows)[of]
        taken[name] = rows
    network.load_state_dict(taken)
    return Transplant(
        kept=tuple(kept),
        drawn=tuple(name for name in now.names if name not in kept),
        left=tuple(name for name in before.names if name not in kept),
    )
