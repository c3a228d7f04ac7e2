"""`volunet check`: every finding of a dataset or of a folder of scans, worst first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volunet.cli.exits import NONE_OK, SOME_NOT_OK, exits
from volunet.cli.info import tell_findings
from volunet.cli.options import Accept, Json, Quiet, Verbose
from volunet.cli.speaker import Speaker

if TYPE_CHECKING:
    from volunet.data.cases import Dataset
    from volunet.findings import Finding


def check(
    path: Annotated[Path, typer.Argument(help="A dataset, a scan or a folder of scans.")],
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Every finding of a dataset or of scans, worst first."""
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.findings import Refused

        try:
            ids, findings = _look(speaker, path, accept or ())
        except Refused as refused:
            ids, findings = set(), list(refused.findings)
        tell_findings(speaker, findings)
        refusing = [f for f in findings if f.refuses]
        bad = {f.case or f.file for f in refusing}
        speaker.say(f"{len(ids)} cases, {len(findings)} findings, {len(refusing)} of which refuse.")
        if refusing:
            whole = not ids or ids <= bad or "" in bad
            raise typer.Exit(NONE_OK if whole else SOME_NOT_OK)


def _look(speaker: Speaker, path: Path, accept: Collection[str]) -> tuple[set[str], list[Finding]]:
    """The ids of the cases and every finding.

    Raises:
        Refused: two cases have one id, or there is none.
    """
    from volunet.data.check import check_dataset, check_scans
    from volunet.data.layouts import is_dataset
    from volunet.data.scans import find_scans

    def counted(done: int, total: int) -> None:
        speaker.counted("checking", done, total)

    if is_dataset(path):
        dataset = _open(path, accept)
        return set(dataset.case_ids), list(check_dataset(dataset, accept=accept, progress=counted))
    scans = find_scans(path)
    ids = {scan.case_id for scan in scans}
    return ids, list(check_scans(scans, accept=accept, progress=counted))


def _open(path: Path, accept: Collection[str]) -> Dataset:
    """The dataset, without the files that its layout refuses; its findings tell of them."""
    from volunet.data.layouts import find_dataset
    from volunet.findings import Refused

    try:
        return find_dataset(path, accept=accept)
    except Refused as refused:
        try:
            rest = find_dataset(path, accept=("SET-UNPAIRED", "IMG-CHANNELS", *accept))
        except Refused:
            raise refused from None
        return replace(rest, findings=refused.findings)
