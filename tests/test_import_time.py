"""The command answers at once: neither the import nor the help loads a large package."""

from __future__ import annotations

import subprocess
import sys

import pytest

LARGE = {"torch", "monai", "nibabel", "scipy"}
LOADED = "print('loaded:', *sorted({name.split('.')[0] for name in sys.modules}))"
HELP = """
import sys
from volunet.cli.main import run
sys.argv = ["volunet", *{arguments}]
try:
    run()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
VERBS = ["demo", "info", "check", "plan", "train", "predict", "evaluate"]


def packages_loaded_by(code: str) -> set[str]:
    """The top-level packages in a fresh interpreter after the code ran."""
    command = [sys.executable, "-c", f"{code}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("loaded:")[1].split())


def test_importing_volunet_loads_no_large_package():
    loaded = packages_loaded_by("import sys, volunet")
    assert "volunet" in loaded
    assert not loaded & LARGE


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)], ids=str)
def test_the_help_loads_no_large_package(arguments):
    loaded = packages_loaded_by(HELP.format(arguments=arguments))
    assert "volunet" in loaded
    assert not loaded & LARGE
