"""What a run is made from: by that a command knows whether it may go on with it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from volunet.api.asked import Wanted
from volunet.api.learnt import groups_of
from volunet.api.starting import Starting
from volunet.data.cases import Case, Dataset
from volunet.data.content import sum_of_files, sums_of_images
from volunet.data.splits import Split, find_leaks
from volunet.findings import Finding, Refused, refuse_if_needed
from volunet.models.weight_files import read_weights
from volunet.recipe import Recipe


def asked_of(
    dataset: Dataset,
    split: Split,
    recipe: Recipe,
    wanted: Wanted,
    *,
    before: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Finding]]:
    """What a run is made from, and what was found: possible leaks, and cases not to be read.

    Args:
        before: what a run was made from whose checkpoint holds all weights: the model or the file
            that it started from is not looked at any more, and may be gone.

    Raises:
        Refused: the same image is on both sides of the split, or the model to start from has learnt
            from a held-out case, or from its group (SET-LEAK).
    """
    used = [dataset.case(case_id) for case_id in (*split.train, *split.validation)]
    images = sums_of_images(used)
    leaks = refuse_if_needed(find_leaks(split, used, images), wanted.accept)
    sums, unreadable = _sums(used)
    starting = Starting(wanted.start) if wanted.start is not None and before is None else None
    if starting is not None:
        held_out = [case for case in used if case.case_id in split.validation]
        leaks += refuse_if_needed(starting.learnt.find_in(held_out, images), wanted.accept)
    asked = {
        "cases": sums,
        "images": dict(images),
        "groups": groups_of(used),
        "labelled": {c.case_id: list(c.labelled) for c in used if c.labelled is not None},
        "split": json.loads(split.model_dump_json()),
        "recipe": recipe.model_dump(mode="json"),
        "seed": wanted.seed,
        "start": _kept(wanted.start, before, "start") if starting is None else starting.identity,
        "encoder_weights": _kept(wanted.encoder_weights, before, "encoder_weights"),
        "accept": sorted(wanted.accept),
        "labels": None if dataset.labels is None else dataset.labels.model_dump(mode="json"),
    }
    return asked, [*leaks, *unreadable]


def _kept(path: Path | None, before: Mapping[str, Any] | None, name: str) -> str | None:
    """The SHA-256 of a file of weights, or of those that a run started from; None for none."""
    if path is None:
        return None
    if before is None:
        return read_weights(path).sha256
    return before.get(name) or path.name  # which is a difference: it started without


def _sums(cases: Collection[Case]) -> tuple[dict[str, str], list[Finding]]:
    """The sum of each case's files, and the findings of those that cannot be read."""
    sums, findings = {}, []
    for case in cases:
        try:
            sums[case.case_id] = sum_of_files(case.files)
        except Refused as refused:
            findings += [found.at(case=case.case_id) for found in refused.findings]
    return sums, findings
