"""Options that mean the same for every verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[
    str | None,
    typer.Option("-d", "--device", help="cpu, cuda, cuda:1 or mps; by default the best there is."),
]
Accept = Annotated[
    list[str] | None,
    typer.Option("--accept", help="Code of a refusal to waive; may be given several times."),
]
RecipeFile = Annotated[
    Path | None, typer.Option("-r", "--recipe", help="TOML file of an experiment (pipelines/).")
]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, overrides one key of the recipe, such as plan.batch=4."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the split, the weights and every draw.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more, with tracebacks.")]
Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line, for scripts.")]
