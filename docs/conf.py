"""Sphinx settings; the table of finding codes is made from `volunet.codes` at build time."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from volunet.codes import CODES

project = "volunet"
author = copyright = "The volunet authors"
release = importlib.metadata.version("volunet")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"volunet {release}"
exclude_patterns = ["_build", "changes/[0-9]*"]
myst_heading_anchors = 3
templates_path: list[str] = []

FAMILIES = {
    "IO": "Bytes of the file",
    "NII": "NIfTI header",
    "GEO": "Geometry",
    "IMG": "Voxels",
    "LBL": "Labels",
    "SET": "Datasets",
    "MDL": "Models",
    "OOD": "Unlike the training data",
    "ROI": "Regions of interest",
    "RES": "Memory",
    "RUN": "The run itself",
}


def codes_table() -> str:
    """Every finding code, a Markdown table for each family."""
    lines: list[str] = []
    families = dict.fromkeys(code.split("-")[0] for code in CODES)
    for family in families:
        lines += ["", f"## {FAMILIES[family]}", "", "| code | severity | meaning | advice |"]
        lines += ["|---|---|---|---|"]
        for name, code in CODES.items():
            if name.split("-")[0] == family:
                lines.append(f"| `{name}` | {code.severity} | {code.meaning} | {code.advice} |")
    return "\n".join(lines)


def fill(_app: Any, _page: str, source: list[str]) -> None:
    """Puts the table where a page asks for it."""
    source[0] = source[0].replace("{{ codes }}", codes_table())


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill)
