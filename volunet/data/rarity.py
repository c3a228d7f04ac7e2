"""Structures that few cases have are looked for: their cases are drawn more often.

Source: repeat factor sampling, Gupta et al. 2019 (LVIS, arXiv:1908.03195, section 4): a structure
that a share f of the cases has is repeated max(1, sqrt(t / f)) times, and a case as often as its
rarest structure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Repeats:
    """How often cases and structures are drawn.

    Args:
        cases: the chance of each case, adding up to 1; None where all have the same.
        structures: how many times as often as a common one each class is drawn, of the rare ones.
    """

    cases: NDArray[np.float64] | None = None
    structures: Mapping[int, float] = field(default_factory=dict)

    def draw_case(self, count: int, rng: np.random.Generator) -> int:
        """One of so many cases."""
        return int(rng.integers(count) if self.cases is None else rng.choice(count, p=self.cases))

    def draw_structure(self, classes: Sequence[int], rng: np.random.Generator) -> int:
        """One of the classes that a case has."""
        if not self.structures:
            return classes[int(rng.integers(len(classes)))]
        often = np.array([self.structures.get(c, 1.0) for c in classes])
        return classes[int(rng.choice(len(classes), p=often / often.sum()))]


EVEN = Repeats()


def count_repeats(structures: Sequence[set[int]], *, rare_below: float) -> Repeats:
    """How often to draw cases and structures; cases that show none are not drawn for one.

    Args:
        structures: the classes of each case, background left out.
        rare_below: the share of cases, in [0, 1], below which a structure is rare; 0 for none.

    Returns:
        `EVEN` where nothing is rare and all cases show something, or none does.
    """
    has = Counter(c for classes in structures for c in classes)
    often = {c: (rare_below * len(structures) / n) ** 0.5 for c, n in has.items()}
    rare = {c: times for c, times in often.items() if times > 1}
    if not has or (not rare and all(structures)):
        return EVEN
    times = np.array([max((rare.get(c, 1.0) for c in each), default=0.0) for each in structures])
    return Repeats(times / times.sum(), rare)
