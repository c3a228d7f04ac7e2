"""Which structures were drawn in a case, where not all were.

What nobody drew is no background: it is not learnt from, and not scored. A case says so in the
column `labelled` of a table, or in the `labelled` of a labels.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volunet.data.cases import Case, near
from volunet.errors import DatasetError
from volunet.findings import Finding, finding
from volunet.io.masks import label_counts
from volunet.io.names import composed
from volunet.space.labels import Labels

AT = "labels.json: labelled"


def check_drawn(names: Sequence[str], labels: Labels | None, *, at: str) -> tuple[str, ...] | None:
    """The structures that were drawn, in the order of the labels; None where all were.

    Args:
        at: where this was said, for messages.

    Raises:
        DatasetError: no labels are declared, or a name is none of them.
    """
    if labels is None:
        raise DatasetError(
            f"{at} names {list(names)}, and no labels are declared. Declare them in a labels.json "
            "beside the cases, or leave this out where all are drawn."
        )
    for name in names:
        if name not in labels.names:
            raise DatasetError(
                f"{at} names {name!r}, which is no label.{near(name, labels.names)} Known are "
                f"{list(labels.names)}."
            )
    drawn = tuple(name for name in labels.names if name in names)
    return None if drawn == labels.names else drawn


def with_drawn(
    cases: Iterable[Case], said: Mapping[str, Sequence[str]], labels: Labels | None
) -> tuple[tuple[Case, ...], list[Finding]]:
    """The cases with what a labels.json says was drawn in some of them.

    A warning SET-LABELLED comes for each name that is no case here.

    Args:
        said: case id to names.

    Raises:
        DatasetError: a name is no label.
    """
    cases, said = tuple(cases), {composed(name): names for name, names in said.items()}
    ids = [case.case_id for case in cases]
    findings = [
        finding("SET-LABELLED", f"{AT} names {name!r}, which is no case here.{near(name, ids)}")
        for name in said
        if name not in ids
    ]
    told = tuple(
        replace(case, labelled=check_drawn(said[case.case_id], labels, at=f"{AT}, {case.case_id}"))
        if case.case_id in said
        else case
        for case in cases
    )
    return told, findings


def drawn_classes(case: Case, labels: Labels) -> NDArray[np.bool_] | None:
    """Which classes were drawn, (classes,) with background first; None where all were."""
    if case.labelled is None:
        return None
    return np.array([True, *(name in case.labelled for name in labels.names)])


def find_undrawn(case: Case, labels: Labels, voxels: NDArray[Any]) -> list[Finding]:
    """LBL-UNDRAWN for each structure in a map whose case says that it was not drawn."""
    if case.labelled is None:
        return []
    counts = label_counts(voxels)
    found = []
    for name, value in labels.structures.items():
        if name not in case.labelled and counts.get(value):
            found.append(undrawn(name, value))
    return found


def undrawn(name: str, value: int) -> Finding:
    """The warning LBL-UNDRAWN."""
    message = f"The map holds voxels of {name!r} ({value}), which the case says was not drawn."
    return finding("LBL-UNDRAWN", message, value=value)
