"""A file is a page, and a function fits the eye."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "volunet"
FILES = sorted(file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py"))
LINES_OF_A_FILE = 300
LINES_OF_A_FUNCTION = 40
FORBIDDEN = {"utils", "helpers", "common", "base", "core", "manager"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def length(function: Function) -> int:
    """The lines from def to the end, less those of the docstring."""
    first = function.body[0]
    said = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if said else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_is_at_most_a_page(file):
    assert len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) <= LINES_OF_A_FILE


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_function_fits_the_eye(file):
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    long = {f.name: length(f) for f in functions if length(f) > LINES_OF_A_FUNCTION}
    assert long == {}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_name_says_what_is_inside(file):
    assert not FORBIDDEN & {part.removesuffix(".py") for part in file.parts}
