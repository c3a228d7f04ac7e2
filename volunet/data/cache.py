"""Prepared cases, kept on disk under what they were made from, and checked before they are used.

A case is prepared once: turned to RAS, resampled and normalised as the plan says. The result lies
under a key of the bytes of its files and of what the plan says about preparation, so that neither a
changed file nor a changed plan is ever served an old entry. An entry that is damaged, cut short or
foreign is made again. Two runs may share a folder: entries are written aside and renamed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.data.cases import Case
from volunet.data.content import sum_of_files
from volunet.data.drawn import drawn_classes, undrawn
from volunet.data.entry import Entry, read_entry, write_entry
from volunet.data.foreground import sample_foreground
from volunet.data.read_case import CaseReading, findings_of, read_case
from volunet.data.read_target import TargetReading, other_fineness, read_target_case
from volunet.data.room import check_room
from volunet.errors import Stopped, WriteError
from volunet.findings import Finding, Refused, Severity
from volunet.io.atomic import sweep
from volunet.io.user_cache import forget_unread, note_read
from volunet.planning.machine import allow_open_files, refuse_too_many_files
from volunet.planning.plan import Plan
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.resample import resample_labels

VERSION = 2
"""Goes up when preparation gives other voxels for the same files and plan."""

PREPARATION = {"spacing", "size", "intensities", "interpolation"}
"""Fields of a plan that change what is prepared, beside the number of channels and the labels."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case as the network wants it; the arrays are mapped from a file, read-only.

    Args:
        image: float32 (C, I, J, K).
        label: class indices (I, J, K), uint8, or uint16 for more than 255 classes; or the targets
            that are estimated, float32 (T, I, J, K).
        foreground: some voxels (n, 3) of each structure that occurs, by class index: all up to
            5,000, a random sample of so many beyond.
        drawn: which classes were drawn, (classes,) with background first; None for all.
        grid: where the voxels lie.
        findings: what was found when the files were read.
    """

    case_id: str
    image: NDArray[np.float32]
    label: NDArray[Any]
    foreground: Mapping[int, NDArray[np.int32]]
    grid: Grid
    findings: tuple[Finding, ...] = ()
    drawn: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Preparation:
    """What became of several cases: those that are ready, and everything found about all."""

    ready: tuple[Prepared, ...]
    findings: tuple[Finding, ...]


class PreparedCases:
    """A folder of prepared cases for one plan.

    Args:
        folder: made where it is missing; entries of other plans in it are left alone.
        plan: how cases are prepared.
        accept: codes of refusals to waive when files are read.
    """

    def __init__(self, folder: Path, plan: Plan, *, accept: Collection[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        self._folder = folder
        self._plan = plan
        self._accept = tuple(sorted(set(accept)))
        self._open: dict[Case, Prepared] = {}

    def get(self, case: Case) -> Prepared:
        """The case, prepared now or earlier; its entry is checked once in each process.

        Raises:
            DatasetError: the case has no label map, or no target.
            Refused: a file is refused; the findings say why.
            LabelError: the label map holds a value that the plan does not declare.
            WriteError: the entry cannot be written.
        """
        if case not in self._open:
            self._open[case] = self._entry(case)
        return self._open[case]

    def prepare_all(
        self, cases: Sequence[Case], *, progress: Callable[[int, int], None] | None = None
    ) -> Preparation:
        """All cases, prepared one after another; what is wrong with one does not stop the others.

        Args:
            progress: called after each case with the number done and of how many.

        Raises:
            ConfigError: the process may not have so many files open.
            WriteError: an entry cannot be written, which concerns all cases; or the disk has no
                room for all of them, before any is prepared.
        """
        allow_open_files(len(self._open) + len(cases))
        self.check_room(cases)
        ready: list[Prepared] = []
        found: list[Finding] = []
        for done, case in enumerate(cases, start=1):
            try:
                ready.append(self.get(case))
                found += ready[-1].findings
            except (WriteError, Stopped):
                raise
            except Exception as error:  # whatever one case does, the others are prepared
                refuse_too_many_files(error)
                found += findings_of(error, case.case_id)
            if progress is not None:
                progress(done, len(cases))
        forget_unread(self._folder, "prepared")
        return Preparation(tuple(ready), tuple(found))

    def check_room(self, cases: Iterable[Case]) -> None:
        """Raises WriteError where the disk has no room for what is not prepared yet."""
        missing = (case for case in cases if not self._has(case))
        check_room(self._folder, missing, self._plan, accept=self._accept)

    def path_of(self, case: Case) -> Path:
        """Where the entry of a case lies once it is prepared.

        Raises:
            Refused: a file of the case cannot be read.
        """
        return self._folder / f"{self._key(case)}.prepared"

    def _has(self, case: Case) -> bool:
        try:
            return case in self._open or self.path_of(case).exists()
        except Refused:  # which is told when it is to be prepared
            return False

    def _key(self, case: Case) -> str:
        said = self._plan.model_dump(mode="json", include=PREPARATION)
        labels = self._plan.labels  # maps whose labels tell left from right are judged harder
        said["labels"] = [labels.values, labels.ignore, labels.tells_sides]
        if labels.masks == "colours":
            said["colours"] = labels.mask_colours
        said["channels"] = len(self._plan.channels)
        if not self._plan.respace:
            said["respace"] = False
        if self._plan.targets is not None:
            said["targets"] = self._plan.targets.model_dump(mode="json")
        made_from = [VERSION, sum_of_files(case.files), len(case.images), said, self._accept]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def _entry(self, case: Case) -> Prepared:
        path = self.path_of(case)
        entry = read_entry(path, path.stem)
        note_read(path)
        if entry is None:
            facts, arrays = self._made(case, seed=int(path.stem[:16], 16))
            write_entry(path, {"key": path.stem} | facts, arrays)
            entry = read_entry(path, path.stem)
        if entry is None:
            raise WriteError(
                f"{path.name} was written and cannot be read back. Check the disk that "
                f"{path.parent} is on."
            )
        return _prepared(entry, case, self._plan.labels)

    def _made(self, case: Case, *, seed: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        channels, accept = len(self._plan.channels), self._accept
        if (targets := self._plan.targets) is not None:
            aims = len(targets.names)
            pair = read_target_case(case, channels=channels, targets=aims, accept=accept)
            return prepare_targets(pair, self._plan)
        read = read_case(case, channels=channels, labels=self._plan.labels, accept=accept)
        return prepare(read, self._plan, seed=seed)


def prepare(
    read: CaseReading, plan: Plan, *, seed: int
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What is kept of a case: facts as JSON values, and arrays by name.

    Args:
        seed: of the sample of foreground voxels.

    Raises:
        LabelError: a value that the plan does not declare.
    """
    image = plan.prepare(read.image)
    label = resample_labels(read.label.reoriented("RAS"), image.grid)
    index = plan.labels.to_index(label.voxels[0])
    samples = sample_foreground(index, plan.labels.classes, np.random.default_rng(seed))
    kept = [found for found in read.findings if found.code != "LBL-UNDRAWN"]
    facts = _facts(image.grid, kept)
    coordinates = {f"class {c}": voxels for c, voxels in samples.items()}
    return facts, {"image": image.voxels, "label": index} | coordinates


def prepare_targets(
    read: TargetReading, plan: Plan
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What is kept of a case with targets: facts as JSON values, and arrays by name.

    Raises:
        Refused: the targets are finer, or coarser, than the plan's (GEO-MISMATCH).
    """
    if plan.targets is None or read.finer != plan.targets.finer:
        planned = None if plan.targets is None else plan.targets.finer
        raise Refused([*read.findings, other_fineness(read.finer, planned)])
    image, scales = plan.prepare_scaled(read.image)
    target = plan.prepare_target(read.target, image.grid, plan.target_scales(scales))
    return _facts(image.grid, read.findings), {"image": image.voxels, "label": target.voxels}


def _facts(grid: Grid, findings: Iterable[Finding]) -> dict[str, Any]:
    told = [json.loads(found.to_json()) for found in findings]
    return {"affine": grid.affine.tolist(), "findings": told}


def _prepared(entry: Entry, case: Case, labels: Labels) -> Prepared:
    label, drawn = entry.arrays["label"], drawn_classes(case, labels)
    samples = {
        int(name.removeprefix("class ")): voxels
        for name, voxels in entry.arrays.items()
        if name.startswith("class ")
    }
    hidden = [] if drawn is None else [c for c in samples if not drawn[c]]
    told = [_finding(told) for told in entry.facts["findings"]]
    told += [undrawn(labels.names[c - 1], labels.values[c - 1]) for c in hidden]
    i, j, k = label.shape[-3:]
    return Prepared(
        case_id=case.case_id,
        image=entry.arrays["image"],
        label=label,
        foreground={c: found for c, found in samples.items() if c not in hidden},
        grid=Grid((i, j, k), np.array(entry.facts["affine"])),
        findings=tuple(found.at(case=case.case_id) for found in told),
        drawn=drawn,
    )


def _finding(told: Mapping[str, Any]) -> Finding:
    return Finding(**{**told, "severity": Severity(told["severity"])})
