"""Whether the disk has room for prepared cases, asked before hours are spent on them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from math import prod
from pathlib import Path

from volunet.data.cases import Case
from volunet.errors import WriteError
from volunet.findings import Refused
from volunet.io.scan import read_header
from volunet.planning.machine import GB
from volunet.planning.plan import Plan


def check_room(
    folder: Path, cases: Iterable[Case], plan: Plan, *, accept: Collection[str] = ()
) -> None:
    """Sees to it that the disk of a folder has room for these cases as the plan prepares them.

    Raises:
        WriteError: it has not.
    """
    needed = sum(prepared_bytes(case, plan, accept) for case in cases)
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # which writing there tells better
        return
    if needed > free:
        raise WriteError(
            f"The cases that are still to be prepared take {needed / GB:.1f} GB in {folder}, and "
            f"{free / GB:.1f} GB are free. Free some space, or name another folder for prepared "
            "cases (XDG_CACHE_HOME); the same command goes on."
        )


def prepared_bytes(case: Case, plan: Plan, accept: Collection[str] = ()) -> float:
    """What a case takes once it is prepared, by its header; 0 where that cannot be read."""
    try:
        header = read_header(case.images, accept=accept, channels_in_file=len(plan.channels) > 1)
    except Refused:  # which is told when the case is to be prepared
        return 0.0
    numbers = 4.0 * len(plan.channels)
    if plan.targets is not None:
        numbers += 4.0 * len(plan.targets.names)
    else:
        numbers += 1 if plan.labels.classes <= 256 else 2
    return numbers * prod(plan.grid_for(header.grid).shape)
