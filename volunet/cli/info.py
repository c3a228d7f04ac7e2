"""`volunet info`: what a scan, a folder, a dataset or a model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volunet.cli.exits import NONE_OK, exits
from volunet.cli.options import Device, Json, Quiet, Verbose
from volunet.cli.speaker import Speaker

if TYPE_CHECKING:
    from volunet.findings import Finding
    from volunet.inference.calibration import Calibration
    from volunet.packaging.model_file import Training
    from volunet.planning.any_plan import AnyPlan

Row = tuple[str, str]


def info(
    path: Annotated[Path, typer.Argument(help="A scan, a folder of scans, a dataset or a model.")],
    engines: Annotated[
        bool, typer.Option("--engines", help="Try all engines on a model; which is taken, and why.")
    ] = False,
    device: Device = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """What a scan, a dataset or a model holds.

    Geometry, intensities and findings of a scan; cases and labels of a dataset; the plan,
    scores and licence of a model.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.data.layouts import is_dataset
        from volunet.errors import ConfigError
        from volunet.packaging.model_place import find_model, is_unfinished

        is_model = any((place / "model.json").is_file() for place in (path, path / "model"))
        if device is not None and not engines:
            raise ConfigError("-d is where --engines tries a model. Give both, or leave -d out.")
        if engines and not is_model:
            raise ConfigError(f"--engines is for a model, and {path} is none. Leave it out.")
        if is_model:
            _tell(speaker, "model", _model(path))
            if engines:
                _tell_engines(speaker, path, device)
        elif is_dataset(path):
            _tell_dataset(speaker, path)
        elif path.is_file():
            _tell_scan(speaker, path)
        elif is_unfinished(path):
            find_model(path)  # says how far it is
        else:
            _tell_folder(speaker, path)


def _tell(speaker: Speaker, title: str, facts: dict[str, Any]) -> None:
    speaker.give(facts)
    rows = [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in facts.items()]
    speaker.table(title, ("what", "value"), rows)


def _model(path: Path) -> dict[str, Any]:
    from volunet.packaging.model_file import load_weights, read_model_file
    from volunet.packaging.model_place import find_model
    from volunet.planning.plan import Plan

    model = read_model_file(path)
    load_weights(find_model(path), model)
    plan, training = model.plan, model.training
    return {
        "name": model.name,
        "channels": list(plan.channels),
        **(
            {"labels": plan.labels.structures, "learnt": list(_learnt(plan))}
            if plan.targets is None
            else {"targets": list(plan.targets.names), "finer": list(plan.targets.finer)}
        ),
        "networks": len(model.weights),
        "spacing_mm": list(plan.spacing),
        "patch": list(plan.patch),
        "family": plan.family if isinstance(plan, Plan) else "nnunet, imported",
        "features": list(plan.features),
        "trained_on": str(training),
        **(
            {"validation_dice": training.validation_dice}
            if plan.targets is None
            else {"validation_psnr_db": training.validation_psnr_db}
        ),
        "scored_on": _scored_on(training),
        "tidying": {name: model.tidy.say(name) for name in model.tidy.structures},
        "calibration": _calibration(model.calibration),
        "weights_sha256": list(model.weights.values()),
        "licence": model.licence or "not stated",
        "intended_use": model.intended_use or "not stated",
        "versions": model.versions,
    }


def _learnt(plan: AnyPlan) -> tuple[str, ...]:
    """What the network tells apart: structures, or regions that may overlap."""
    from volunet.planning.plan import Plan

    learns_regions = bool(plan.regions if isinstance(plan, Plan) else plan.order)
    return tuple(plan.labels.regions) if learns_regions else plan.labels.names


def _scored_on(training: Training) -> str:
    """How many held-out cases the scores are of."""
    if training.held_out is None:
        return "not stated"
    return f"{training.scored} of {training.held_out} held-out cases"


def _calibration(measured: Calibration | None) -> dict[str, str] | str:
    """What looking less or more gave, and what the presets stand for."""
    from volunet.inference.calibration import PRESETS

    if measured is None:
        return "none, so that --fast and --best are not known"
    rows = {str(row.look): str(row) for row in measured.rows}
    presets = {f"--{preset}": str(measured.chosen(preset).look) for preset in PRESETS}
    return {"held-out cases": str(measured.cases), **rows, **presets}


def _tell_engines(speaker: Speaker, path: Path, device: str | None) -> None:
    from volunet.api.models import try_engines

    choice = try_engines(path, device=device)
    speaker.give({"engines": choice.model_dump(mode="json")})
    columns = ("engine", "s a window", "logits apart", "at most", "same class", "Dice", "verdict")
    rows = [
        (
            str(row),
            _number(row.seconds, ".3g"),
            _number(row.apart, ".1e"),
            _number(row.difference, ".1e"),
            _number(row.equal, ".3%"),
            _number(row.dice, ".4f"),
            row.verdict,
        )
        for row in choice.rows
    ]
    speaker.table(f"engines, tried on {choice.seen}, against torch fp32", columns, rows)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _tell_scan(speaker: Speaker, path: Path) -> None:
    import numpy as np

    from volunet.findings import Refused
    from volunet.io.scan import inspect

    try:
        reading = inspect(path, channels_in_file=True)
    except Refused as refused:
        tell_findings(speaker, refused.findings)
        raise typer.Exit(NONE_OK) from None
    volume = reading.volume
    quantiles = [
        [round(float(q), 4) for q in np.quantile(channel, (0, 0.005, 0.5, 0.995, 1))]
        for channel in volume.voxels
    ]
    facts = {
        "shape": list(volume.grid.shape),
        "channels": volume.channels,
        "type": str(volume.voxels.dtype),
        "spacing_mm": [round(mm, 5) for mm in volume.grid.spacing],
        "orientation": volume.grid.orientation,
        "extent_mm": [round(mm, 2) for mm in volume.grid.extent_mm],
        "quantiles_0_0.5_50_99.5_100": quantiles,
    }
    _tell(speaker, path.name, facts)
    tell_findings(speaker, reading.findings)


def _tell_folder(speaker: Speaker, path: Path) -> None:
    from volunet.data.scans import find_scans

    scans = find_scans(path)
    _tell(speaker, path.name, {"scans": len(scans), "first": [s.case_id for s in scans[:5]]})


def _tell_dataset(speaker: Speaker, path: Path) -> None:
    from volunet.data.layouts import find_dataset

    dataset = find_dataset(path)
    regions = dataset.labels.regions if dataset.labels else {}
    facts = {
        "layout": dataset.layout,
        "cases": len(dataset.cases),
        "groups": len({case.group for case in dataset.cases}),
        "channels": list(dataset.channels),
        **(
            {"targets": list(dataset.targets)}
            if dataset.targets
            else {"labels": dataset.labels.structures if dataset.labels else "not declared"}
        ),
        **({"regions": regions} if regions else {}),
        "first": list(dataset.case_ids[:5]),
    }
    _tell(speaker, path.name, facts)
    tell_findings(speaker, dataset.findings)


def tell_findings(speaker: Speaker, findings: tuple[Finding, ...] | list[Finding]) -> None:
    """Findings, worst first: a table for people, JSON lines for scripts."""
    from volunet.findings import worst_first

    ordered = worst_first(findings)
    if speaker.as_json:
        for found in ordered:
            speaker.give(json.loads(found.to_json()))
    elif ordered:
        rows = [
            (
                f.code,
                f"{f.severity}{' (accepted)' if f.accepted else ''}",
                f.case or f.file,
                f"{f.message} {f.advice}",
            )
            for f in ordered
        ]
        speaker.table("findings", ("code", "severity", "case", "what and what to do"), rows)
