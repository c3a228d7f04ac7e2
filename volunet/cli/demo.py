"""`volunet demo`: the main job on the bundled scans, up to scores on scans not trained on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from volunet.cli.exits import Stop, exits
from volunet.cli.options import Device, Json, Quiet, Verbose
from volunet.cli.predict import run_predict
from volunet.cli.speaker import Speaker
from volunet.cli.train import tell_summary, watch_for

BUDGET = "150s"


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for everything the demo makes.")
    ] = Path("volunet_demo"),
    device: Device = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Train, predict and evaluate on the bundled scans.

    They are synthetic; pictures are drawn where matplotlib is installed.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        started = time.monotonic()
        stop = Stop()
        from volunet.data.sample import sample_folder
        from volunet.evaluation.evaluate import evaluate

        sample = sample_folder()
        _train(speaker, sample, output / "run", device, stop)
        masks, scores = output / "masks", output / "scores"
        outcome = run_predict(
            speaker,
            sample / "test" / "images",
            output / "run",
            masks,
            device=device,
            stop=stop,
        )
        scores.mkdir(parents=True, exist_ok=True)
        done = evaluate(masks, sample / "test" / "labels", scores)
        pictures = _draw(speaker, sample / "test", masks, output)
        speaker.give(done.summary | {"masks": str(masks), "scores": str(scores)})
        tell_summary(speaker, "scores on scans that it was not trained on", done.summary)
        speaker.show(f"Masks:   {masks}\nScores:  {scores / 'metrics.csv'}")
        for picture in pictures:
            speaker.show(f"Picture: {picture}")
        speaker.say(f"The demo took {time.monotonic() - started:.0f} s.")
        if outcome.exit_code:
            raise typer.Exit(outcome.exit_code)


def _train(speaker: Speaker, sample: Path, folder: Path, device: str | None, stop: Stop) -> None:
    from volunet.api.asked import Wanted
    from volunet.api.training import train
    from volunet.recipe import Recipe
    from volunet.training.allocator import keep_freed_memory

    keep_freed_memory()
    recipe = Recipe(name="demo", budget=BUDGET)
    train(sample, folder, recipe, wanted=Wanted(device=device), watch=watch_for(speaker, stop))


def _draw(speaker: Speaker, test: Path, masks: Path, output: Path) -> list[Path]:
    """The first unseen scan with its mask and reference, and the curves of the training."""
    from volunet.errors import MissingExtra
    from volunet.io.read import read, stem
    from volunet.reporting.pictures import draw_curves, draw_overlay
    from volunet.space.labels_file import read_labels

    scans = sorted((test / "images").glob("*.nii.gz"))
    scan = next((scan for scan in scans if (masks / f"{stem(scan)}.nii.gz").is_file()), None)
    if scan is None:
        return []
    name = f"{stem(scan)}.nii.gz"
    labels = read_labels(test.parent / "labels.json")
    overlay, curves = output / "overlay.png", output / "curves.png"
    try:
        draw_overlay(
            read(scan),
            read(masks / name),
            labels,
            overlay,
            reference=read(test / "labels" / name),
        )
        draw_curves(output / "run" / "history.csv", curves)
    except MissingExtra as missing:
        speaker.say(f"No pictures: {missing}")
        return []
    return [overlay, curves]
