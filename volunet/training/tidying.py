"""Which structures are tidied, and how: what held-out cases gain by, and nothing out of habit.

Each step alone, and parts with holes, is tried on the masks of cases that the network was not
trained on, one structure at a time, the others as they were found. A structure is tidied only if

- it is in at least `FEWEST` cases, in the reference or in the mask;
- its mean Dice over these cases rises by more than `MARGIN`;
- its Dice falls by more than `HARM` in at most `HARMED` of them, rounded down;
- the choice would have done as well for cases that it did not see: each case (or group of cases) in
  turn is left out, the choice made on the others, and the mean Dice of the cases left out rises by
  more than `MARGIN` too. What one case alone speaks for is not done.

Of the steps that may be taken those with the highest mean are, and of equals the simplest. A
structure in neither reference nor mask counts 1 here, so that it is worth something to remove what
should not be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from volunet.config import Settings
from volunet.data.cases import Case
from volunet.evaluation.overlap import Overlap, to_classes
from volunet.inference.postprocess import Gain, Steps, Tidy, find_holes
from volunet.io.masks import label_counts
from volunet.planning.fingerprint import Fingerprint
from volunet.space.labels import Labels
from volunet.space.runs import Runs
from volunet.space.volume import Volume

FEWEST = 5  # cases
MARGIN = 0.002  # of the mean Dice
HARM = 0.001  # of one case's Dice
HARMED = 0.1  # share of the cases
DUST = (0.001, 0.01, 0.1)  # shares of a structure's usual volume
EQUAL = 4  # decimals of the mean Dice

Candidates = Mapping[str, Sequence[Steps]]


@dataclass(frozen=True, eq=False)
class Trial:
    """What the candidates would make of one held-out case.

    Args:
        case_id: of the case.
        group: cases of one group are left out together.
        dice: for each structure that was drawn and is in reference or mask, (1 + candidates,): as
            found, then after each candidate.
    """

    case_id: str
    group: str
    dice: Mapping[str, NDArray[np.float64]]


class Tried(Settings):
    """One candidate: the mean Dice it gives, and the share of cases it harms."""

    steps: Steps
    dice: float
    harmed: float


class Verdict(Settings):
    """What was tried for one structure, and what came of it.

    Args:
        cases: where the structure is in reference or mask.
        dice: the mean over these cases, as found.
        tried: every candidate.
        unseen: what the choice gains on cases left out of it.
        chosen: empty steps where none was good enough.
    """

    cases: int
    dice: float
    tried: tuple[Tried, ...]
    unseen: float
    chosen: Steps


class Choice(Settings):
    """The verdict on each structure, and the rules it was reached by."""

    structures: dict[str, Verdict]
    fewest_cases: int = FEWEST
    margin: float = MARGIN
    harm: float = HARM
    harmed: float = HARMED

    def __str__(self) -> str:
        cases = max((verdict.cases for verdict in self.structures.values()), default=0)
        if cases < FEWEST:
            return (
                f"No structure is tidied: that takes {FEWEST} held-out cases with the structure, "
                f"and there are {cases} at most."
            )
        if not self.tidy:
            return f"No structure is tidied: none gains enough on up to {cases} held-out cases."
        said = [f"{name}: {self.tidy.say(name)}" for name in self.tidy.structures]
        return f"Tidied from now on: {'; '.join(said)}."

    @property
    def tidy(self) -> Tidy:
        """What is to be done to new masks, and what it gave."""
        chosen = {name: v for name, v in self.structures.items() if v.chosen}
        return Tidy(
            structures={name: verdict.chosen for name, verdict in chosen.items()},
            gains={name: _gain(verdict) for name, verdict in chosen.items()},
        )


def candidates_for(labels: Labels, fingerprint: Fingerprint) -> dict[str, list[Steps]]:
    """What is tried for each structure, simplest first.

    Args:
        fingerprint: of the training cases; dust is a share of their median volume.
    """
    found: dict[str, list[Steps]] = {}
    for name in labels.names:
        volumes = [case.volumes_ml.get(name, 0.0) for case in fingerprint.cases.values()]
        present = [volume for volume in volumes if volume > 0]
        usual = float(np.median(present)) if present else 0.0
        dust = [Steps(dust_ml=float(f"{share * usual:.2g}")) for share in DUST if usual]
        removing = [Steps(largest=True), *dust]
        both = [steps.model_copy(update={"holes": True}) for steps in removing]
        found[name] = [Steps(holes=True), *removing, *both]
    return found


def try_candidates(
    reference: Volume,
    found: Volume,
    labels: Labels,
    candidates: Candidates,
    *,
    case: Case,
) -> Trial:
    """Tries every candidate on one held-out case.

    Args:
        reference: (1, I, J, K) label values.
        found: (1, I, J, K) label values as the network found them, untidied, on the same grid.
    """
    truth, seen = to_classes(reference.voxels[0], found.voxels[0], labels.values)
    in_truth, in_seen = label_counts(truth), label_counts(seen)
    places = find_objects(seen, max_label=labels.classes - 1)
    dice = {}
    for number, name in enumerate(labels.names, start=1):
        if case.labelled is not None and name not in case.labelled:
            continue
        whole = in_truth.get(number, 0)
        if number in in_seen:
            part = places[number - 1]
            trial = _Structure(seen[part], truth[part], number, labels.classes)
            steps = (Steps(), *candidates[name])
            dice[name] = np.array([trial.dice(s, whole, found.grid.voxel_ml) for s in steps])
        elif whole:
            dice[name] = np.zeros(1 + len(candidates[name]))
    return Trial(case.case_id, case.group, dice)


def choose_tidy(trials: Sequence[Trial], candidates: Candidates) -> Choice:
    """Chooses for each structure on its own; the trials may be those of several folds."""
    return Choice(structures={name: _judge(trials, name, candidates[name]) for name in candidates})


class _Structure:
    """One structure of one case, cut to the box where it was found."""

    def __init__(
        self, seen: NDArray[np.uint8], truth: NDArray[np.uint8], number: int, ignored: int
    ) -> None:
        self.runs = Runs.where(seen, lambda block: block == number)
        self.others = Runs.where(seen, lambda block: (block != 0) & (block != number))
        self.truth = Runs.where(truth, lambda block: block == number)
        self.ignored = Runs.where(truth, lambda block: block == ignored)
        self.right = self.runs.sums(self.runs.shared(self.truth))
        self.wrong = self.runs.sums(self.runs.lengths - self.runs.shared(self.ignored)) - self.right
        self.holes: dict[int, tuple[int, int]] = {}

    def dice(self, steps: Steps, reference_vox: int, voxel_ml: float) -> float:
        """The structure's Dice after some steps; 1 where it is in neither mask."""
        kept = steps.kept(self.runs.sizes, voxel_ml)
        tp, fp = int(self.right[:kept].sum()), int(self.wrong[:kept].sum())
        if steps.holes:
            right, wrong = self._in_holes(kept)
            tp, fp = tp + right, fp + wrong
        found = Overlap(tp=tp, fp=fp, fn=reference_vox - tp).dice
        return 1.0 if np.isnan(found) else found

    def _in_holes(self, kept: int) -> tuple[int, int]:
        """Voxels of the holes of the largest parts, rightly and wrongly filled."""
        if kept not in self.holes:
            holes = find_holes(self.runs.pick(self.runs.parts < kept), self.others)
            right = int(holes.shared(self.truth).sum())
            judged = holes.voxels - int(holes.shared(self.ignored).sum())
            self.holes[kept] = right, judged - right
        return self.holes[kept]


def _judge(trials: Sequence[Trial], name: str, steps: Sequence[Steps]) -> Verdict:
    held = [trial for trial in trials if name in trial.dice]
    table = np.array([trial.dice[name] for trial in held]).reshape(len(held), 1 + len(steps))
    gains = table[:, 1:] - table[:, :1]
    if not held:
        return Verdict(cases=0, dice=0.0, tried=(), unseen=0.0, chosen=Steps())
    most = int(HARMED * len(held))
    unseen = _unseen(gains, np.array([trial.group for trial in held]), most)
    best = _best(gains, most) if len(held) >= FEWEST and unseen > MARGIN else None
    means, harmed = table.mean(axis=0), (gains < -HARM).mean(axis=0)
    return Verdict(
        cases=len(held),
        dice=float(means[0]),
        tried=tuple(
            Tried(steps=step, dice=float(mean), harmed=float(share))
            for step, mean, share in zip(steps, means[1:], harmed, strict=True)
        ),
        unseen=unseen,
        chosen=Steps() if best is None else steps[best],
    )


def _best(gains: NDArray[np.float64], most: int) -> int | None:
    """The candidate that gains most of those that harm at most so many; None where none may."""
    means = gains.mean(axis=0)
    allowed = (means > MARGIN) & ((gains < -HARM).sum(axis=0) <= most)
    if not allowed.any():
        return None
    return int(np.argmax(np.where(allowed, means.round(EQUAL), -1.0)))


def _unseen(gains: NDArray[np.float64], groups: NDArray[np.str_], most: int) -> float:
    """The mean gain of each case by what is chosen without its group."""
    gained = np.zeros(len(gains))
    for group in np.unique(groups):
        out = groups == group
        best = None if out.all() else _best(gains[~out], most)
        if best is not None:
            gained[out] = gains[out, best]
    return float(gained.mean())


def _gain(verdict: Verdict) -> Gain:
    after = {tried.steps: tried.dice for tried in verdict.tried}
    return Gain(cases=verdict.cases, before=verdict.dice, after=after[verdict.chosen])
