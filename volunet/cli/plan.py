"""`volunet plan`: what training will do, and what it will take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volunet.cli.exits import SOME_NOT_OK, exits
from volunet.cli.info import tell_findings
from volunet.cli.options import Accept, Change, Device, Json, MaxMemory, Quiet, RecipeFile, Verbose
from volunet.cli.speaker import Speaker

if TYPE_CHECKING:
    from volunet.api.planning import Planned
    from volunet.planning.fingerprint import Fingerprint
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
    max_memory: MaxMemory = None,
    accept: Accept = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """What training will do, and the memory it will take."""
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.api.beginning import refuse_to_mix_sides
        from volunet.api.planning import open_dataset, plan_for
        from volunet.config import to_json
        from volunet.io.atomic import write_text
        from volunet.planning.machine import find_device, read_bytes, training_dtype

        wanted, waived = read_recipe(recipe, change), accept or ()
        limit = None if max_memory is None else read_bytes(max_memory)
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
        told = speaker.counted
        opened = open_dataset(dataset, wanted, accept=waived, counted=told)
        if opened.labels is not None:
            refuse_to_mix_sides(opened.labels, wanted)
        planned = plan_for(opened, opened.cases, wanted, device=device, accept=waived, counted=told)
        tell_findings(speaker, (*opened.findings, *planned.survey.findings))
        half = training_dtype(find_device(device)).itemsize == 2
        fits = tell_plan(speaker, planned, wanted, half=half, limit=limit)
        if output is not None:
            write_text(output, to_json(planned.plan))
            speaker.say(f"The plan is in {output}.")
        if planned.survey.refused or not fits:
            raise typer.Exit(SOME_NOT_OK)


def tell_plan(
    speaker: Speaker,
    planned: Planned,
    recipe: Recipe,
    *,
    half: bool,
    limit: float | None = None,
) -> bool:
    """A plan and what it will take.

    Args:
        half: feature maps are trained in a type of two bytes.
        limit: bytes that segmenting may take.

    Returns:
        Whether the largest scan can be segmented within the limit, if there is one.
    """
    from volunet.planning.memory import cost_of

    made = planned.plan
    speaker.give(made.model_dump(mode="json"))
    cost = cost_of(made)
    work = 2 * 3 * cost.multiply_adds * made.batch / 1e9
    segmenting, fits = _segmenting(speaker, made, planned.survey.fingerprint, limit)
    rows = [
        ("channels", ", ".join(made.channels)),
        _aims(made),
        ("the network sees", planned.slices.reason),
        ("spacing (R, A, S), mm", _spacing(made)),
        ("patch (R, A, S)", " x ".join(map(str, made.patch))),
        ("batch", str(made.batch)),
        ("network", _network(made)),
        ("features", ", ".join(map(str, made.features))),
        ("strides", json.dumps(made.strides)),
        ("kernels", json.dumps(made.kernels)),
        ("intensities", ", ".join(i.scheme for i in made.intensities)),
        ("weights", f"{cost.parameters / 1e6:.2f} million"),
        ("budget", f"{recipe.budget} of training and validation"),
        ("work of a training step", f"{work:.0f} GFLOP"),
        ("peak memory of training steps", _training(made, recipe, half)),
        *segmenting,
    ]
    speaker.table("plan", ("what", "value"), rows)
    return fits


def _spacing(made: Plan) -> str:
    return " x ".join(f"{mm:g}" for mm in made.spacing) + ", usually" * (not made.respace)


def _network(made: Plan) -> str:
    """The family, and what its blocks are made of."""
    more = ["residual blocks"] * made.residual + ["attention gates"] * made.attention
    return ", ".join([made.family, *more])


def _aims(made: Plan) -> tuple[str, str]:
    """What the network tells: structures, or targets and how they are come by."""
    if made.targets is None:
        named = ", ".join(f"{v} {n}" for n, v in made.labels.structures.items())
        if made.regions:
            named += f"; learnt as regions: {', '.join(made.labels.regions)}"
        elif made.labels.learns_regions:
            named += "; plan.regions = true would learn the regions that they declare"
        return "labels", named
    told = [", ".join(made.targets.names)]
    told += ["as what is to be added to the image"] * made.corrects
    told += [f"on {' x '.join(map(str, made.targets.finer))} as many voxels"] * (
        made.targets.finer != (1, 1, 1)
    )
    return "targets", ", ".join(told)


def _training(made: Plan, recipe: Recipe, half: bool) -> str:
    """The peak memory of training steps."""
    from volunet.planning.machine import GB
    from volunet.planning.memory import training_bytes
    from volunet.training.losses.choose import count_bytes

    loss_bytes = count_bytes(recipe.training.loss)
    told = f"about {training_bytes(made, half=half, loss_bytes=loss_bytes) / GB:.1f} GB"
    return told + ", feature maps computed again" * made.recompute


def _segmenting(
    speaker: Speaker, made: Plan, fingerprint: Fingerprint, limit: float | None
) -> tuple[list[tuple[str, str]], bool]:
    """The peak memory of segmenting the largest scan, and whether it keeps a limit that is set."""
    from volunet.findings import Refused
    from volunet.inference.effort import Effort
    from volunet.inference.engines.torch_engine import name_of
    from volunet.inference.limit import foresee
    from volunet.planning.machine import GB, choose_dtype

    engine = f"torch {name_of(choose_dtype('cpu'))}"
    largest = fingerprint.largest(len(made.channels))
    rows, effort, fits = [], Effort(overlap=made.overlap), True
    for most in dict.fromkeys((None, limit)):
        what = f"peak memory of segmenting {' x '.join(map(str, largest.grid.shape))}"
        try:
            seen = foresee(made, largest, [engine], effort, limit=most)
            leaner = most is not None or seen.effort != effort
            told = f"about {seen.demand.total / GB:.1f} GB{f', {seen}' * leaner}"
        except Refused as refused:
            told = str(refused)
            if most is not None:
                fits = False
                speaker.complain(f"The largest scan cannot be segmented in {most / GB:g} GB.")
        rows.append((what if most is None else f"the same in {most / GB:g} GB", told))
    return rows, fits
