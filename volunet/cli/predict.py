"""`volunet predict`: masks of a scan or of a folder of scans; it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volunet.cli.exits import Stop, exits
from volunet.cli.options import Accept, Device, Json, Quiet, Verbose
from volunet.cli.speaker import Speaker

if TYPE_CHECKING:
    from volunet.cohort.journal import CaseRecord
    from volunet.cohort.runner import Outcome


def predict(
    scans: Annotated[
        Path, typer.Option("-i", "--input", help="A scan, a folder of scans, or a CSV.")
    ],
    model: Annotated[Path, typer.Option("-m", "--model", help="A model or a run's folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for masks and tables.")],
    device: Device = None,
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Masks of scans, and a table with one row a scan.

    The same command goes on where it stopped: finished scans are not done again.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        outcome = run_predict(
            speaker, scans, model, output, device=device, accept=accept or (), stop=Stop()
        )
        if outcome.exit_code:
            raise typer.Exit(outcome.exit_code)


def run_predict(
    speaker: Speaker,
    scans: Path,
    model: Path,
    output: Path,
    *,
    device: str | None = None,
    accept: Collection[str] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Segments scans and says how it goes."""
    from volunet.api.models import load
    from volunet.cohort.journal import RECORD
    from volunet.cohort.run_record import Asked
    from volunet.cohort.runner import predict_cohort
    from volunet.data.scans import find_scans
    from volunet.planning.machine import find_device

    segment = load(model, device=device)
    found = find_scans(scans, channels=len(segment.plan.channels))
    given = {"device": device, "accept": list(accept)}
    asked = Asked(
        root=scans if scans.is_dir() else scans.parent,
        arguments={"input": scans, "model": model, "output": output, **given},
        device=str(find_device(device)),
    )

    def report(record: CaseRecord, done: int, total: int) -> None:
        speaker.give(RECORD.dump_python(record, mode="json"))
        if not record.is_ok:
            speaker.say(f"{record.case_id}: {record.status}: {record.message}")
        speaker.counted("segmenting", done, total)

    outcome = predict_cohort(
        found, segment, output, accept=accept, report=report, should_stop=stop, asked=asked
    )
    counts = ", ".join(f"{n} {status}" for status, n in sorted(outcome.counts.items()))
    speaker.say(f"{len(outcome.records)} scans: {counts}. Masks and cases.csv are in {output}.")
    return outcome
