"""What the pages say about commands, steps and changes agrees with what is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = ["read", "judge", "aim", "prepare", "cut", "look", "blend", "return", "tidy", "keep"]


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_ci_sets_up_and_checks_with_the_commands_of_the_readme():
    for command in ("pip install -c constraints.txt -e '.[dev]'", "scripts/check"):
        assert command in text("README.md")
    script = text(".ci/run").replace(" --quiet", "").replace('pip"', "pip")
    assert "pip install -c constraints.txt -e '.[dev]'" in script
    assert "scripts/check" in script


def test_the_page_on_the_path_of_a_volume_has_its_ten_steps():
    assert re.findall(r"^## (\w+)$", text("docs/path.md").lower(), re.M) == STEPS


def test_a_change_is_named_by_its_number_and_kind():
    names = [file.name for file in (ROOT / "docs/changes").iterdir() if file.name != "README.md"]
    assert all(re.fullmatch(r"\d{3}\.(added|changed|fixed|removed)\.md", name) for name in names)


def test_every_requirement_of_the_project_has_a_tested_version():
    wanted = re.findall(r'"([A-Za-z0-9-]+)>=', text("pyproject.toml"))
    pinned = {line.split("==")[0].lower() for line in text("constraints.txt").splitlines()}
    assert {name.lower() for name in wanted} - pinned == {"hatchling"}
