"""Weights of a trained network as the start of another one: fine-tuning.

Everything but the head is taken as it is. The head has one entry for each class or region: it
starts from the entry of the same name, wherever that stood, and one without a namesake from the
drawn weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from volunet.errors import ModelError
from volunet.space.labels import BACKGROUND

Axes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Transplant:
    """What a network started from.

    Args:
        kept: what entries of the head tell of that were taken over.
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

    @property
    def warning(self) -> str | None:
        """That no structure or target was taken over, in sentences; None where one was."""
        if {*self.kept} - {BACKGROUND} or not (left := [n for n in self.left if n != BACKGROUND]):
            return None
        return (
            "Of the model that training starts from no structure or target is taken over: it knows "
            f"{', '.join(left)}, and here are {', '.join(self.drawn)}. Where some of these are the "
            "same, give them the model's names (in labels.json, or [labels] or targets of the "
            "recipe), and start in a new folder."
        )


def transplant(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    before: Sequence[str],
    now: Sequence[str],
    axes: Axes,
) -> Transplant:
    """Puts weights of a network into another one.

    Args:
        before: what each entry of the older network's head tells of.
        now: what each entry of this one's does.
        axes: of each weight of the head, by name, those that have such entries.

    Raises:
        ModelError: a weight is missing, left over, or of another shape; the network is then as it
            was.
    """
    own = network.state_dict()
    odd = sorted(set(weights) ^ set(own))
    both = sorted(set(weights) & set(own))
    odd += [n for n in both if not _counts(weights[n], axes.get(n, ()), before)]
    odd += [n for n in both if not _fits(weights[n], own[n], axes.get(n, ()))]
    if odd:
        raise ModelError(
            f"The weights are those of another network: {', '.join(odd[:4])}"
            f"{' ...' if len(odd) > 4 else ''} do not fit."
        )
    kept = tuple(name for name in now if name in before)
    here, there = ([names.index(name) for name in kept] for names in (now, before))
    taken = dict(weights)
    for name, along in axes.items():
        taken[name] = _graft(own[name], weights[name], along, here, there)
    network.load_state_dict(taken)
    return Transplant(
        kept=kept,
        drawn=tuple(name for name in now if name not in kept),
        left=tuple(name for name in before if name not in kept),
    )


def _counts(given: Tensor, along: tuple[int, ...], before: Sequence[str]) -> bool:
    """Whether a weight of the older head has one entry for each name."""
    return all(axis < given.ndim and given.shape[axis] == len(before) for axis in along)


def _fits(given: Tensor, own: Tensor, along: tuple[int, ...]) -> bool:
    """Whether two weights have one shape, but for the axes that count the head's entries."""
    shapes = zip(given.shape, own.shape, strict=False)
    same = all(n == m for axis, (n, m) in enumerate(shapes) if axis not in along)
    return given.ndim == own.ndim and same


def _graft(
    own: Tensor, given: Tensor, along: tuple[int, ...], here: list[int], there: list[int]
) -> Tensor:
    """A weight of the head whose entries `here` are those that stood `there`."""
    if not here:
        return own
    made, part = own.clone(), given.to(own)
    for axis in along:
        part = part.index_select(axis, torch.tensor(there, dtype=torch.long, device=own.device))
    places = torch.meshgrid(
        *(
            torch.tensor(here if axis in along else range(n), device=own.device)
            for axis, n in enumerate(own.shape)
        ),
        indexing="ij",
    )
    made[places] = part
    return made
