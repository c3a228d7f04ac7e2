"""The command as a person runs it, in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
SMOKE = ROOT / "pipelines" / "smoke.toml"


def volunet(
    *arguments, home: Path, timeout: float = 120, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end; `more` goes to its environment."""
    return subprocess.run(
        command(*arguments),
        env=surroundings(home) | more,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def command(*arguments) -> list[str]:
    """The command's words."""
    return [sys.executable, "-m", "volunet.cli.main", *map(str, arguments)]


def surroundings(home: Path) -> dict[str, str]:
    """An environment whose home folder is a test's own."""
    return {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
    }
