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
from volunet.errors import ModelError, VolunetError
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
            that it started from may be gone.

    Raises:
        Refused: the same image is on both sides of the split, or the model to start from has learnt
            from a held-out case, or from its group (SET-LEAK).
    """
    used = [dataset.case(case_id) for case_id in (*split.train, *split.validation)]
    images = sums_of_images(used)
    leaks = refuse_if_needed(find_leaks(split, used, images), wanted.accept)
    sums, unreadable = _sums(used)
    starting = _starting(wanted.start, before)
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
        "start": _told(wanted.start, before, "start") if starting is None else starting.identity,
        "encoder_weights": _sum_of(wanted.encoder_weights, before),
        "accept": sorted(wanted.accept),
        "labels": None if dataset.labels is None else dataset.labels.model_dump(mode="json"),
    }
    return asked, [*leaks, *unreadable]


def _starting(path: Path | None, before: Mapping[str, Any] | None) -> Starting | None:
    """The model to start from; None for none, or where it is gone and not needed any more."""
    if path is None:
        return None
    try:
        return Starting(path)
    except VolunetError:
        if before is None:
            raise
        return None


def _sum_of(path: Path | None, before: Mapping[str, Any] | None) -> str | None:
    """The SHA-256 of a file of weights; None for none."""
    try:
        return None if path is None else read_weights(path).sha256
    except ModelError:
        if before is None:
            raise
        return _told(path, before, "encoder_weights")


def _told(path: Path | None, before: Mapping[str, Any] | None, name: str) -> str | None:
    """What a run that goes on says it started from, in place of what is gone."""
    if path is None or before is None:
        return None
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
