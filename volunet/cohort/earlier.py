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
DAMAGE = {"IO-EMPTY", "IO-TRUNC", "IO-CRC", "NII-MAGIC"}
"""What is wrong with a file that nobody meant to be so."""


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
        mask = out / record.output
        as_it_was = mask.is_file() and sum_of_file(mask) == record.output_sha256
        return as_it_was and set(record.accept) <= set(accept)
    return record.status == "refused" and not (PASSING | set(accept)) & set(record.codes)


def is_foreign(mask: Path, sums: Collection[str]) -> bool:
    """Whether a file that lies where a mask goes is somebody's work: drawn, or changed, by hand.

    A mask that is damaged is nobody's.

    Args:
        sums: of the masks that volunet ever wrote of this case, or was about to write.
    """
    if not os.path.lexists(mask):
        return False
    if not mask.is_file():
        return True
    return sum_of_file(mask) not in sums and not _is_damaged(mask)


def _is_damaged(mask: Path) -> bool:
    try:
        inspect(mask, channels_in_file=True)
    except Refused as refused:
        return bool(DAMAGE & {found.code for found in refused.findings})
    return False
