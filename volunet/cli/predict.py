"""`volunet predict`: masks, or estimates, of a scan or a folder; it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volunet.cli.exits import Stop, exits
from volunet.cli.options import (
    Accept,
    Best,
    Deadline,
    Device,
    Engine,
    Everywhere,
    Fast,
    Json,
    MaxMemory,
    Precision,
    Quiet,
    Roi,
    Verbose,
    preset_of,
)
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
    engine: Engine = "auto",
    precision: Precision = None,
    fast: Fast = False,
    best: Best = False,
    max_memory: MaxMemory = None,
    roi: Roi = None,
    deadline: Deadline = None,
    everywhere: Everywhere = False,
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Masks or estimates of scans, and a table with a row each.

    The same command goes on where it stopped: finished scans are not done again.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        how = {"device": device, "engine": engine, "precision": precision}
        how |= {"effort": preset_of(fast, best), "max_memory": max_memory}
        asks = {"roi": roi or [], "deadline": deadline, "everywhere": everywhere}
        outcome = run_predict(
            speaker, scans, model, output, accept=accept or (), stop=Stop(), asks=asks, **how
        )
        if outcome.exit_code:
            raise typer.Exit(outcome.exit_code)


def run_predict(
    speaker: Speaker,
    scans: Path,
    model: Path,
    output: Path,
    *,
    accept: Collection[str] = (),
    stop: Callable[[], bool] = lambda: False,
    asks: Mapping[str, Any] | None = None,
    **how: Any,
) -> Outcome:
    """Segments scans and says how it goes.

    Args:
        asks: what `narrow` takes.
        how: what `load` takes.
    """
    from volunet.api.models import device_for, load
    from volunet.api.narrowing import narrow
    from volunet.cohort.outlook import look_ahead
    from volunet.cohort.run_record import Asked
    from volunet.cohort.runner import predict_cohort
    from volunet.data.scans import find_scans
    from volunet.planning.machine import GB

    asks = asks or {}
    segment = narrow(load(model, **how, tell=speaker.say), **asks, accept=accept)
    found = find_scans(scans, names=segment.plan.channels)
    segment, outlook = look_ahead(found, segment, accept=accept)
    speaker.say(str(outlook))
    given = {"input": scans, "model": model, "output": output, **how, **asks}
    given |= {"accept": list(accept), "roi": [Path(name).name for name in asks.get("roi", ())]}
    asked = Asked(
        root=scans if scans.is_dir() else scans.parent,
        arguments=given,
        device=str(device_for(how.get("device"), how.get("engine", "auto"))),
        predicted_gb=round(outlook.peak_bytes / GB, 3) or None,
    )
    report = partial(_report, speaker)
    outcome = predict_cohort(
        found, segment, output, accept=accept, report=report, should_stop=stop, asked=asked
    )
    _sum_up(speaker, outcome, output, "Estimates" if segment.plan.targets else "Masks")
    return outcome


def _sum_up(speaker: Speaker, outcome: Outcome, output: Path, made: str) -> None:
    counts = ", ".join(f"{n} {status}" for status, n in sorted(outcome.counts.items()))
    speaker.say(f"{len(outcome.records)} scans: {counts}. {made} and cases.csv are in {output}.")
    if outcome.others:
        more = "more are there, of scans that were not given now; they have no row in cases.csv."
        speaker.say(f"{outcome.others} {more}")


def _report(speaker: Speaker, record: CaseRecord, done: int, total: int) -> None:
    from volunet.cohort.journal import RECORD

    speaker.give(RECORD.dump_python(record, mode="json"))
    if not record.is_ok:
        speaker.say(f"{record.case_id}: {record.status}: {record.message}")
    speaker.counted("segmenting", done, total)
