"""`volunet plan`: what training will do, and what it will take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volunet.cli.exits import SOME_NOT_OK, exits
from volunet.cli.info import tell_findings
from volunet.cli.options import Accept, Change, Device, Json, Quiet, RecipeFile, Verbose
from volunet.cli.speaker import Speaker

if TYPE_CHECKING:
    from volunet.planning.plan import Plan
    from volunet.recipe import Recipe


def read_recipe(path: Path | None, changes: list[str] | None) -> Recipe:
    """The recipe that the options ask for."""
    from volunet.recipe import Recipe

    return (
        Recipe.read(path, changes=changes or ()) if path else Recipe.default(changes=changes or ())
    )


def plan(
    dataset: Annotated[Path, typer.Argument(help="A folder or a CSV of labelled cases.")],
    recipe: RecipeFile = None,
    change: Change = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the plan to this JSON file.")
    ] = None,
    device: Device = None,
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """What training will do with a dataset, and its predicted memory."""
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.api.planning import open_dataset, plan_for
        from volunet.config import to_json
        from volunet.io.atomic import write_text

        wanted = read_recipe(recipe, change)
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
        opened = open_dataset(dataset, wanted, accept=accept or (), counted=speaker.counted)
        planned = plan_for(
            opened,
            opened.cases,
            wanted,
            device=device,
            accept=accept or (),
            counted=speaker.counted,
        )
        tell_findings(speaker, (*opened.findings, *planned.survey.findings))
        tell_plan(speaker, planned.plan, wanted.budget)
        if output is not None:
            write_text(output, to_json(planned.plan))
            speaker.say(f"The plan is in {output}.")
        if planned.survey.refused:
            raise typer.Exit(SOME_NOT_OK)


def tell_plan(speaker: Speaker, made: Plan, budget: str) -> None:
    """A plan and what it will take."""
    from volunet.planning.machine import GB
    from volunet.planning.memory import cost_of, inference_bytes, training_bytes

    speaker.give(made.model_dump(mode="json"))
    cost = cost_of(made)
    work = 2 * 3 * cost.multiply_adds * made.batch / 1e9
    shape = tuple(2 * side for side in made.patch)
    rows = [
        ("channels", ", ".join(made.channels)),
        ("labels", ", ".join(f"{v} {n}" for n, v in made.labels.structures.items())),
        ("spacing (R, A, S), mm", " x ".join(f"{mm:g}" for mm in made.spacing)),
        ("patch (R, A, S)", " x ".join(map(str, made.patch))),
        ("batch", str(made.batch)),
        ("features", ", ".join(map(str, made.features))),
        ("strides", json.dumps(made.strides)),
        ("kernels", json.dumps(made.kernels)),
        ("intensities", ", ".join(i.scheme for i in made.intensities)),
        ("weights", f"{cost.parameters / 1e6:.2f} million"),
        ("time", f"{budget} of training and validation"),
        ("work of a training step", f"{work:.0f} GFLOP"),
        ("peak memory of training", f"about {training_bytes(made) / GB:.1f} GB"),
        (
            f"peak memory of segmenting {' x '.join(map(str, shape))}",
            f"about {inference_bytes(made, shape, shape) / GB:.1f} GB",  # type: ignore[arg-type]
        ),
    ]
    speaker.table("plan", ("what", "value"), rows)
