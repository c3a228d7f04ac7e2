"""What an earlier run left of a case: a record that may still hold, and a mask that may be its."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from volunet.cohort.journal import CaseRecord
from volunet.data.content import sum_of_file
from volunet.findings import Refused
from volunet.io.scan import inspect

FOREIGN = "RUN-FOREIGN"
PASSING = {"RES-MEMORY", "RUN-KILLED", FOREIGN}
"""Refusals that another machine, another limit or somebody else may lift."""


def still_holds(record: CaseRecord, key: str, out: Path, accept: Collection[str]) -> bool:
    """Whether a record is of the same files and model, and its mask is as it was.

    More waivers change nothing for a case that met no refusal; for one that was refused they may.

    Args:
        key: of the case as it is now.
        accept: codes of refusals that are waived now.
    """
    if record.key != key:
        return False
    if record.is_ok:
        return set(record.accept) <= set(accept) and _is_as_written(out / record.output, record)
    return record.status == "refused" and not (PASSING | set(accept)) & set(record.codes)


def is_foreign(mask: Path, record: CaseRecord | None) -> bool:
    """Whether a file that lies where a mask goes is somebody's work: drawn, or changed, by hand.

    A mask that cannot be read any more is damaged, and nobody's.

    Args:
        record: of the case by an earlier run.
    """
    if not os.path.lexists(mask):
        return False
    if record is not None and record.is_ok and record.output == mask.name:
        return not _is_as_written(mask, record) and _can_be_read(mask)
    return True


def _is_as_written(mask: Path, record: CaseRecord) -> bool:
    return mask.is_file() and sum_of_file(mask) == record.output_sha256


def _can_be_read(mask: Path) -> bool:
    try:
        inspect(mask, channels_in_file=True)
    except (Refused, OSError):
        return False
    return True
