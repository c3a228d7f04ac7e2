"""`volunet check`: every finding of a dataset or of a folder of scans, worst first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volunet.cli.exits import NONE_OK, SOME_NOT_OK, exits
from volunet.cli.info import tell_findings
from volunet.cli.options import Accept, Json, Quiet, Verbose
from volunet.cli.speaker import Speaker


def check(
    path: Annotated[Path, typer.Argument(help="A dataset, a scan or a folder of scans.")],
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Every finding of a dataset or a folder of scans, worst first."""
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.data.check import check_dataset, check_scans
        from volunet.data.layouts import find_dataset
        from volunet.data.scans import find_scans
        from volunet.errors import DatasetError
        from volunet.findings import Refused

        def counted(done: int, total: int) -> None:
            speaker.counted("checking", done, total)

        try:
            if path.is_file() and path.suffix.lower() != ".csv":
                raise DatasetError("a single scan")
            dataset = find_dataset(path, accept=accept or ())
            ids = {case.case_id for case in dataset.cases}
            findings = list(check_dataset(dataset, accept=accept or (), progress=counted))
        except Refused as refused:
            ids, findings = set(), list(refused.findings)
        except DatasetError:
            scans = find_scans(path)
            ids = {scan.case_id for scan in scans}
            findings = list(check_scans(scans, accept=accept or (), progress=counted))
        tell_findings(speaker, findings)
        refusing = [f for f in findings if f.refuses]
        bad = {f.case for f in refusing}
        speaker.say(f"{len(ids)} cases, {len(findings)} findings, {len(refusing)} of which refuse.")
        if refusing:
            whole = not ids or ids <= bad or "" in bad
            raise typer.Exit(NONE_OK if whole else SOME_NOT_OK)
