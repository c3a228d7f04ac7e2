"""Which cases are trained on and which are held out for validation.

Cases of one group (one patient, say) stay together. Groups are ordered by a hash of the seed and
their name, and cut into folds of equal numbers of groups; a case that is added later shifts at
most one group from each fold to the next.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from volunet.config import Settings
from volunet.data.cases import Case, near
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Finding, finding, refuse_if_needed
from volunet.io.names import composed


class Split(Settings):
    """Ids of the cases on each side, sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


def split_cases(
    cases: Sequence[Case], *, fold: int | None = None, folds: int = 5, seed: int = 0
) -> Split:
    """One split of the cases; a `split` or `fold` that the cases carry wins over the hash.

    Args:
        fold: the fold to hold out, from 0; None makes one split, with one part in `folds` (at
            least one group) held out.
        folds: into how many parts the groups are cut, at least 2.

    Raises:
        ConfigError: there is no such fold.
        DatasetError: too few groups, or a `split` or `fold` that not all cases have.
        Refused: the cases' own `split` or `fold` parts a group (SET-LEAK).
    """
    by_hash = not any(case.fold is not None for case in cases)
    if folds < 2 or (by_hash and fold is not None and not 0 <= fold < folds):
        raise ConfigError(f"There is no fold {fold} of {folds}; folds count from 0, at least 2.")
    if fold is None and any(case.split for case in cases):
        held_out = _said(cases, "split", "validation")
    elif any(case.fold is not None for case in cases):
        held_out = _held_out_by_column(cases, fold)
    elif any(case.split for case in cases):
        raise DatasetError(
            "The cases have a split of their own, which is no fold. Leave out the fold, or give "
            "the cases a column 'fold'."
        )
    else:
        held_out = _held_out_by_hash(cases, fold, folds, seed)
    return _checked(cases, held_out)


def read_splits(path: Path, cases: Sequence[Case], fold: int = 0) -> Split:
    """A fold of a splits_final.json as nnU-Net writes it: a list of {"train", "val"}.

    Cases that the fold does not name are on neither side.

    Raises:
        ConfigError: the file cannot be read, is no such list, or has no such fold.
        DatasetError: it names cases that are not there.
        Refused: a case or group is on both sides (SET-LEAK).
    """
    listed = _listed(path)
    if not 0 <= fold < len(listed):
        raise ConfigError(f"{path.name} has the folds 0 to {len(listed) - 1}, and no {fold}.")
    sides = {side: list(map(composed, names)) for side, names in listed[fold].items()}
    if set(sides) != {"train", "val"}:
        raise ConfigError(f"{path.name}: fold {fold} needs 'train' and 'val', got {list(sides)}.")
    known = {case.case_id for case in cases}
    named = [*sides["train"], *sides["val"]]
    if unknown := [name for name in named if name not in known]:
        raise DatasetError(
            f"{path.name}, fold {fold}, names {len(unknown)} cases that are not there: "
            f"{', '.join(map(repr, unknown[:5]))}.{near(unknown[0], known)}"
        )
    split = Split(train=_sorted(sides["train"]), validation=_sorted(sides["val"]))
    return _without_leaks(split, cases)


def fold_splits(
    cases: Sequence[Case], folds: int, *, path: Path | None = None, seed: int = 0
) -> tuple[Split, ...]:
    """All folds of a cross-validation; no case is held out twice.

    Args:
        folds: how many; at least 2.
        path: a splits_final.json; None cuts the cases as `split_cases` does.

    Raises:
        ConfigError: the file, or the cases' own folds, are not so many; or a case is held out
            twice.
        DatasetError, Refused: as `split_cases` and `read_splits` have it.
    """
    numbers = fold_numbers(cases, folds, path=path)
    if path is not None:
        splits = tuple(read_splits(path, cases, number) for number in numbers)
    else:
        parts = max(numbers) + 1  # a column may skip numbers
        splits = tuple(split_cases(cases, fold=n, folds=parts, seed=seed) for n in numbers)
    held_out = [case_id for split in splits for case_id in split.validation]
    if twice := sorted({case_id for case_id in held_out if held_out.count(case_id) > 1}):
        raise ConfigError(
            f"More than one fold holds out {twice[:5]}. Let each case be held out once."
        )
    return splits


def fold_numbers(cases: Sequence[Case], folds: int, *, path: Path | None = None) -> tuple[int, ...]:
    """What the folds of a cross-validation are called, ascending: from 0, or as a column has it.

    Raises:
        ConfigError: the file, or the cases' own folds, are not so many.
    """
    own = sorted({case.fold for case in cases if case.fold is not None})
    if path is not None:
        known, where = len(_listed(path)), path.name
    else:
        known, where = len(own) or folds, "the dataset"
    if folds < 2:
        raise ConfigError(f"A cross-validation has two folds or more, and {folds} were asked for.")
    if known != folds:
        raise ConfigError(f"{where} has {known} folds, and {folds} were asked for.")
    return tuple(own if own and path is None else range(folds))


def find_unused(cases: Iterable[Case], splits: Sequence[Split]) -> list[Finding]:
    """A warning SET-UNUSED for each case that is neither learnt from nor held out.

    Args:
        splits: one fold, or all of a cross-validation, of which one should hold a case out.
    """
    held_out = {case_id for split in splits for case_id in split.validation}
    learnt = {case_id for split in splits for case_id in split.train}
    found = []
    for case_id in (case.case_id for case in cases):
        if case_id not in held_out | learnt:
            what = "It is on no side of a split, so it is neither learnt from nor scored."
        elif case_id not in held_out and len(splits) > 1:
            what = "No fold holds it out, so it has no score."
        else:
            continue
        found.append(finding("SET-UNUSED", what).at(case=case_id))
    return found


def _listed(path: Path) -> list[dict[str, list[str]]]:
    try:
        return TypeAdapter(list[dict[str, list[str]]]).validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise ConfigError(f'{path.name} must be a list of {{"train": [], "val": []}}.') from error


def find_leaks(
    split: Split, cases: Iterable[Case], contents: Mapping[str, str] | None = None
) -> list[Finding]:
    """A refusal SET-LEAK for each case, group or image that is on both sides.

    Args:
        contents: a sum of each case's image by case id, as `content.sums_of_images` gives; None
            leaves the images out of it.
    """
    sides = {"train": set(split.train), "validation": set(split.validation)}
    marks: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        carried = [("case", case.case_id), ("group", case.group)]
        if contents is not None and case.case_id in contents:
            carried.append(("image", contents[case.case_id]))
        for side in (side for side, ids in sides.items() if case.case_id in ids):
            for mark in carried:
                marks[mark][side].append(case.case_id)
    found: dict[tuple[str, ...], Finding] = {}
    for (what, name), on in marks.items():
        if len(on) == 2:
            who = (*on["train"], *on["validation"])
            found.setdefault(who, _leak(what, name, on))
    return list(found.values())


def own_splits(cases: Sequence[Case]) -> Iterator[Split]:
    """The splits that the columns `split` and `fold` make; none where no case has them."""
    sides = {
        side: tuple(c.case_id for c in cases if c.split == side) for side in ("train", "validation")
    }
    if all(sides.values()):
        yield Split(**sides)
    for fold in sorted({c.fold for c in cases if c.fold is not None}):
        held_out = tuple(c.case_id for c in cases if c.fold == fold)
        train = tuple(c.case_id for c in cases if c.fold not in (fold, None))
        if train:
            yield Split(train=train, validation=held_out)


def _leak(what: str, name: str, on: Mapping[str, Sequence[str]]) -> Finding:
    train, held_out = (", ".join(map(repr, on[side][:3])) for side in ("train", "validation"))
    told = "The same image" if what == "image" else f"The {what} {name!r}"
    message = f"{told} is in training ({train}) and in validation ({held_out})."
    return finding("SET-LEAK", message).at(case=on["validation"][0])


def _held_out_by_hash(
    cases: Sequence[Case], fold: int | None, folds: int, seed: int
) -> frozenset[str]:
    by_group: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        by_group[case.group].append(case.case_id)
    groups = sorted(by_group, key=lambda g: hashlib.sha256(f"{seed}\0{g}".encode()).digest())
    if len(groups) < (2 if fold is None else folds):
        raise DatasetError(
            f"{len(groups)} groups of cases cannot be cut into {folds} folds. Give more cases"
            + (", or fewer folds." if fold is not None else ": at least two groups are needed.")
        )
    folds = min(folds, len(groups))
    first, stop = (len(groups) * k // folds for k in (fold or 0, (fold or 0) + 1))
    return frozenset(case_id for name in groups[first:stop] for case_id in by_group[name])


def _held_out_by_column(cases: Sequence[Case], fold: int | None) -> frozenset[str]:
    known = sorted({case.fold for case in cases if case.fold is not None})
    if fold is not None and fold not in known:
        raise ConfigError(f"No case has the fold {fold}; the cases have the folds {known}.")
    return _said(cases, "fold", known[0] if fold is None else fold)


def _said(cases: Sequence[Case], column: str, wanted: str | int) -> frozenset[str]:
    """The cases whose column says `wanted`; all must say something."""
    silent = [case.case_id for case in cases if getattr(case, column) in ("", None)]
    if silent:
        raise DatasetError(
            f"{len(silent)} cases have no {column} while others have: {silent[:5]}. Fill the "
            "column for all, or for none."
        )
    return frozenset(case.case_id for case in cases if getattr(case, column) == wanted)


def _checked(cases: Sequence[Case], held_out: frozenset[str]) -> Split:
    ids = {case.case_id for case in cases}
    split = Split(train=_sorted(ids - held_out), validation=_sorted(held_out))
    return _without_leaks(split, cases)


def _without_leaks(split: Split, cases: Sequence[Case]) -> Split:
    refuse_if_needed(find_leaks(split, cases))
    for side in ("train", "validation"):
        if not getattr(split, side):
            raise DatasetError(f"The split has no case for {side}. Put some on each side.")
    return split


def _sorted(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(ids)))
