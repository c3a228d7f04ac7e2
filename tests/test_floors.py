"""Every floor of the package stands on the ones below it, and third parties stay in their rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "volunet"
FILES = sorted(file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py"))
FLOORS = [
    {"errors", "codes"},
    {"findings", "config"},
    {"space"},
    {"io", "models"},
    {"planning"},
    {"data", "inference", "evaluation"},
    {"training"},
    {"packaging", "reporting"},
    {"cohort"},
    {"recipe"},
    {"api"},
    {"cli", "__init__", "__main__"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
PLACES = {
    "SimpleITK": ("io/",),
    "ignite": ("training/",),
    "matplotlib": ("reporting/",),
    "mlflow": ("training/trackers/",),
    "nibabel": ("io/", "space/"),
    "onnx": ("inference/engines/",),
    "onnxruntime": ("inference/engines/",),
    "openvino": ("inference/engines/",),
    "rich": ("cli/", "training/progress.py"),
    "typer": ("cli/",),
}


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything that a file imports, at the top or in a function."""
    for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports by a relative name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in names)


def room(file: Path) -> str:
    return file.parts[0].removesuffix(".py")


def room_of(module: str) -> str:
    """The room of volunet.space.grid.Grid is space; that of volunet.Grid is __init__."""
    part = module.split(".")[1]
    return part if part in FLOOR else "__init__"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_only_from_its_own_room_or_from_floors_below(file):
    above = [
        f"line {line}: {name}"
        for line, name in imports(file)
        if name.split(".")[0] == "volunet"
        and room_of(name) != room(file)
        and FLOOR[room_of(name)] >= FLOOR[room(file)]
    ]
    assert above == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_third_party_is_imported_only_where_it_belongs(file):
    astray = [
        f"line {line}: {name}"
        for line, name in imports(file)
        for package, places in PLACES.items()
        if name.split(".")[0] == package and not file.as_posix().startswith(places)
    ]
    assert astray == []


@pytest.mark.parametrize("file", [file for file in FILES if room(file) == "models"], ids=str)
def test_models_know_no_volumes(file):
    known = [name for _, name in imports(file) if name.startswith("volunet.space.volume")]
    assert known == []


def test_every_room_has_a_floor():
    assert {room(file) for file in FILES} <= set(FLOOR)
