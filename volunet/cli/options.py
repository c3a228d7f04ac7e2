"""Options that mean the same for every verb."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volunet.errors import ConfigError

if TYPE_CHECKING:
    from volunet.inference.calibration import Preset

Device = Annotated[
    str | None,
    typer.Option("-d", "--device", help="cpu, cuda, cuda:1 or mps; by default the best there is."),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="torch, openvino or onnx; auto tries them once and takes the fastest that agrees.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="fp32, bf16 or fp16; by default the fastest that agrees."),
]
Fast = Annotated[
    bool,
    typer.Option("--fast", help="The cheapest way of looking that held-out cases hardly lost by."),
]
Best = Annotated[
    bool, typer.Option("--best", help="The way of looking that was best on held-out cases.")
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        help="Most memory to hold, such as 4GB (10^9 bytes each) or 800MB; a scan that cannot be "
        "segmented in it is refused before it is read.",
    ),
]
Roi = Annotated[
    list[str] | None,
    typer.Option(
        "--roi",
        help="Name of a structure (may be given several times), or a file with a mask: only these "
        "are found, and only there is looked closely.",
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option("--deadline", help="Time for a scan, such as 60s: the best mask within it."),
]
Everywhere = Annotated[
    bool, typer.Option("--everywhere", help="Look at air too, which is left out by default.")
]


def _known(codes: list[str] | None) -> list[str] | None:
    """The codes of refusals; one that is none would waive nothing without a word."""
    from volunet.codes import CODES

    for code in codes or ():
        if code not in CODES:
            near = get_close_matches(code.upper(), CODES, n=1)
            hint = f" Did you mean {near[0]}?" if near else " See docs/reference/codes.md."
            raise typer.BadParameter(f"There is no code {code!r}.{hint}")
    return codes


Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        help="Code of a refusal to waive; may be given several times.",
        callback=_known,
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option("-r", "--recipe", help="TOML file of an experiment (pipelines/).")
]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, overrides one key of the recipe, such as plan.batch=4."),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Of the split, the weights and every draw.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors and results.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more, with tracebacks.")]
Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line, for scripts.")]


def preset_of(fast: bool, best: bool) -> Preset | None:
    """Which preset was asked for; None for the default.

    Raises:
        ConfigError: both were.
    """
    if fast and best:
        raise ConfigError("--fast and --best ask for two different things; give one of them.")
    return "fast" if fast else "best" if best else None
