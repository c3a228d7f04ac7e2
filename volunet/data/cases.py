"""What a dataset is made of: cases with labels, scans without, and the names they go by.

A case id is the name of its file without the known suffix (or what a table says), in Unicode's
composed form (NFC), so that one name typed on two systems is one id. Ids that differ only in the
case of their letters clash, as they would be one file on many disks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import nlargest
from pathlib import Path
from typing import Literal

from volunet.errors import DatasetError
from volunet.findings import Finding, finding
from volunet.io.names import composed
from volunet.space.labels import Labels

Side = Literal["", "train", "validation"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One patient's image and its label map, as files.

    Args:
        case_id: unique in its dataset.
        images: one file for each channel, or one file that holds them all.
        label: the label map.
        target: in its place, the image that is to be estimated, all its channels in one file.
        group: cases of one group (one patient, say) stay on one side of every split; the case id
            unless given.
        split: the side the dataset puts the case on, empty where it does not say.
        fold: the fold in which the dataset holds the case out for validation.
        labelled: the structures that were drawn, in the order of the labels; None for all.
    """

    case_id: str
    images: tuple[Path, ...]
    label: Path | None = None
    target: Path | None = None
    group: str = ""
    split: Side = ""
    fold: int | None = None
    labelled: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", self.group or self.case_id)

    @property
    def files(self) -> tuple[Path, ...]:
        """The images, then the label map or the target where there is one."""
        return (*self.images, *(path for path in (self.label, self.target) if path is not None))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Labelled cases and what is known of them before a file is opened.

    Args:
        root: the folder that was given, or the folder of the table.
        cases: sorted by case id.
        channels: what each channel of an image is, such as "CT".
        labels: None where only the files tell; `declare_labels` looks. Without structures where
            cases have targets.
        targets: what each channel of a target is; () for cases with label maps.
        layout: how the files were found: "folders", "msd", "nnunet" or "csv".
        findings: what was left out, or waived, while looking for the cases.
    """

    root: Path
    cases: tuple[Case, ...]
    channels: tuple[str, ...]
    labels: Labels | None
    layout: Literal["folders", "msd", "nnunet", "csv"]
    targets: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The ids of the cases, sorted."""
        return tuple(case.case_id for case in self.cases)

    def case(self, case_id: str) -> Case:
        """The case with this id.

        Raises:
            DatasetError: there is none; the message names the three nearest.
        """
        for case in self.cases:
            if case.case_id == case_id:
                return case
        raise DatasetError(f"No case is called {case_id!r}.{near(case_id, self.case_ids)}")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One input of a prediction: its files, or the findings that say why it has none to read.

    Args:
        case_id: unique among the scans.
        images: one file for each channel, or one file that holds them all.
        findings: what is wrong with it already; a refusing one means that it is not read.
    """

    case_id: str
    images: tuple[Path, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a finding stops this scan before it is read."""
        return any(f.refuses for f in self.findings)


def near(name: str, known: Iterable[str]) -> str:
    """Advice that names the three known names nearest to `name`; empty if none is known."""
    matcher = SequenceMatcher(b=name.casefold(), autojunk=False)

    def likeness(other: str) -> float:
        matcher.set_seq1(other.casefold())
        return matcher.ratio()

    nearest = nlargest(3, sorted(set(known)), key=likeness)
    return f" Nearest: {', '.join(map(repr, nearest))}." if nearest else ""


def clashes(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Ids that more than one thing has, ignoring the case of letters.

    Args:
        named: pairs of an id and what carries it, such as a file's name.

    Returns:
        The carriers of each id that clashes, under its first spelling.
    """
    spelling: dict[str, str] = {}
    carriers: dict[str, list[str]] = {}
    for case_id, carrier in named:
        first = spelling.setdefault(composed(case_id).casefold(), case_id)
        carriers.setdefault(first, []).append(carrier)
    return {case_id: who for case_id, who in carriers.items() if len(who) > 1}


def find_clashes(named: Iterable[tuple[str, str]]) -> list[Finding]:
    """A refusal SET-DUPLICATE-ID for each id that more than one file has."""
    return [
        finding(
            "SET-DUPLICATE-ID", f"{' and '.join(map(repr, who))} would all be case {case_id!r}."
        ).at(case=case_id, file=who[0])
        for case_id, who in clashes(named).items()
    ]
