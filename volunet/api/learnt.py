"""What a model, where it lies in the folder of its run, has learnt from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from volunet.config import read_values
from volunet.data.cases import Case
from volunet.findings import Finding, finding

HELD_OUT_ALIKE = (
    "Hold out the cases that the model did not see, by the same splits and fold, or start from "
    "another model; or give --accept SET-LEAK, and do not believe the scores."
)
SHOWN = 5


def groups_of(cases: Collection[Case]) -> dict[str, str]:
    """The groups that cases were given, by case id; a case's own id is none."""
    return {case.case_id: case.group for case in cases if case.group != case.case_id}


@dataclass(frozen=True)
class Learnt:
    """The cases that a model was trained on.

    Args:
        model: its name.
        ids: of the cases; none where nobody knows.
        groups: those that were declared, by case id.
        images: the sum of each one's images, by case id.
    """

    model: str
    ids: frozenset[str]
    groups: Mapping[str, str]
    images: Mapping[str, str]

    @classmethod
    def in_run(cls, run: Path, model: str) -> Learnt:
        """What the `run.json` in a folder says; nothing where there is none."""
        record = run / "run.json"
        made_from = (read_values(record) if record.is_file() else {}).get("made_from") or {}
        split = (made_from.get("folds") or [made_from.get("split")])[0] or {"train": ()}
        ids = frozenset(split["train"])
        groups, images = (
            {name: said for name, said in made_from.get(key, {}).items() if name in ids}
            for key in ("groups", "images")
        )
        return cls(model, ids, groups, images)

    def find_in(self, held_out: Collection[Case], images: Mapping[str, str]) -> list[Finding]:
        """What of the cases that are to be held out the model has learnt from.

        Args:
            images: the sum of each one's images, by case id.

        Returns:
            A refusal SET-LEAK for each case whose image or declared group it knows; and a warning
            SET-SAME-ID, if others are called like cases or groups that it knows.
        """
        found, alike = list[Finding](), list[str]()
        own, groups = ({v: k for k, v in of.items()} for of in (self.images, self.groups))
        declared, names = groups_of(held_out), self.ids | groups.keys()
        for case in held_out:
            group, what = declared.get(case.case_id), ""
            if (total := images.get(case.case_id)) in own:
                what, known = f"the image of {case.case_id!r}", own[total]
            elif group in groups:
                what, known = f"{group!r}, the group of {case.case_id!r}", groups[group]
            elif {case.case_id, case.group} & names and not self._is_another(case, group):
                alike.append(case.case_id)
            if what:
                message = f"{self._model} has learnt from {what}, as case {known!r}."
                found.append(
                    finding("SET-LEAK", message, advice=HELD_OUT_ALIKE).at(case=case.case_id)
                )
        return found + ([self._alike(alike)] if alike else [])

    def _is_another(self, case: Case, group: str | None) -> bool:
        """Whether a case and the known one of its id are of two groups by what both say."""
        return group is not None and group not in self.ids and case.case_id in self.groups

    def _alike(self, names: Collection[str]) -> Finding:
        told = ", ".join(map(repr, sorted(names)[:SHOWN])) + ", ..." * (len(names) > SHOWN)
        message = f"{self._model} has learnt from other images of cases called like {told}."
        return finding("SET-SAME-ID", message, cases=len(names))

    @property
    def _model(self) -> str:
        return f"{self.model}, which training starts from,"
