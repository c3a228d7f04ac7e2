"""`volunet models`: the networks there are, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from volunet.cli.exits import exits
from volunet.cli.options import Device, Json, Quiet, Verbose
from volunet.cli.speaker import Speaker

if TYPE_CHECKING:
    from volunet.api.zoo import Absent, Costs


def models(
    patch: Annotated[
        tuple[int, int, int], typer.Option(help="Voxels along right-left, back-front, feet-head.")
    ] = (96, 96, 96),
    channels: Annotated[int, typer.Option(min=1, help="Of the image.")] = 1,
    classes: Annotated[int, typer.Option(min=2, help="Background among them.")] = 2,
    device: Device = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """The networks there are, and what they cost.

    Weights, work and memory of each family for a patch, and its source.

    A recipe takes one with plan.family and plan.options.
    """
    speaker = Speaker(quiet, verbose, as_json)
    with exits(speaker):
        from volunet.api.zoo import count_costs
        from volunet.planning.machine import find_device, this_machine

        machine = this_machine(find_device(device))
        rows = count_costs(patch, channels=channels, classes=classes, machine=machine)
        tell_models(speaker, rows)


def tell_models(speaker: Speaker, rows: list[Costs | Absent]) -> None:
    """The table of families."""
    from volunet.api.zoo import Costs

    told = []
    for row in rows:
        facts = {name: value for name, value in vars(row).items() if name != "plan"}
        if isinstance(row, Costs):
            facts |= {"patch": list(row.plan.patch), "features": list(row.plan.features)}
            size = " x ".join(map(str, row.plan.patch))
            numbers = f"{row.parameters / 1e6:.2f}", f"{row.gflop:.0f}", f"{row.training_gb:.2f}"
            told.append((row.family, size, *numbers, row.source))
        else:
            speaker.say(f"{row.family}: {row.advice}")
        speaker.give(facts)
    columns = ("family", "patch", "10^6 weights", "GFLOP", "GB to train", "source")
    speaker.table("networks, for one patch", columns, told)
