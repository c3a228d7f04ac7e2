"""Weights of a trained network as the start of another one: fine-tuning.

Everything but the head is taken as it is. The head has one row for each class or region: it starts
from the row of the same name, wherever that stood, and one without a namesake from the drawn
weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from volunet.errors import ModelError

HEAD = ("head.weight", "head.bias")


@dataclass(frozen=True)
class Transplant:
    """What a network started from.

    Args:
        kept: what the rows of the head tell of that were taken over.
        drawn: the same of those that are new.
        left: the same of those that this network has not.
    """

    kept: tuple[str, ...]
    drawn: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        said = [f"the head knows {', '.join(self.kept) or 'nothing'}"]
        said += [f"learns {', '.join(self.drawn)}"] * bool(self.drawn)
        said += [f"forgets {', '.join(self.left)}"] * bool(self.left)
        return "; ".join(said)


def transplant(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    before: Sequence[str],
    now: Sequence[str],
) -> Transplant:
    """Puts weights of a network into another one.

    Args:
        before: what each row of the older network's head tells of.
        now: what each row of this one's does.

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
    kept = tuple(name for name in now if name in before)
    for name in HEAD:
        rows = own[name].clone()
        for row in kept:
            rows[now.index(row)] = weights[name][before.index(row)].to(rows)
        taken[name] = rows
    network.load_state_dict(taken)
    return Transplant(
        kept=kept,
        drawn=tuple(name for name in now if name not in kept),
        left=tuple(name for name in before if name not in kept),
    )
