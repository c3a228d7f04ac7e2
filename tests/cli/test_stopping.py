"""A command that is stopped or killed goes on when it is given again, and leaves no half file."""

import csv
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import SAMPLE, SMOKE, command, surroundings, volunet

SLOW = ("--set", "training.checkpoint_s=0.2", "--budget", "400steps")


def start(home: Path, *arguments) -> subprocess.Popen[bytes]:
    with (home / "errors.txt").open("w") as errors:
        return subprocess.Popen(command(*arguments), env=surroundings(home), stderr=errors)


def wait_for(path: Path, pattern: str, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + 90
    while not list(path.glob(pattern)):
        assert process.poll() is None, (home / "errors.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=slow) for n in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)],
)
def test_training_goes_on_where_it_was_stopped(number, tmp_path):
    words = ("train", SAMPLE / "mr", "-o", tmp_path / "run", "-r", SMOKE, *SLOW)
    process = start(tmp_path, *words)
    wait_for(tmp_path / "run" / "checkpoints", "step_*.pt", process, tmp_path)
    process.send_signal(number)
    code = process.wait(timeout=60)
    assert code == (-number if number == signal.SIGKILL else 75)
    assert not (tmp_path / "run" / "model").exists()
    done = volunet(*words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["steps"] == 400
    assert record["device"].startswith("cpu, ")
    assert (record["arithmetic"], record["processes"]) in {("bfloat16", 1), ("float32", 1)}
    with (tmp_path / "run" / "history.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["loss"]]
    assert steps == sorted(set(steps))
    assert steps[-1] == 400
    assert not list((tmp_path / "run").rglob("*.part"))


def test_predict_goes_on_where_it_was_killed(tmp_path):
    run, out = tmp_path / "run", tmp_path / "masks"
    assert volunet("train", SAMPLE / "mr", "-o", run, "-r", SMOKE, home=tmp_path).returncode == 0
    words = ("predict", "-i", SAMPLE / "ct" / "images", "-m", run, "-o", out)
    process = start(tmp_path, *words)
    wait_for(out, "*.nii.gz", process, tmp_path)
    process.kill()
    process.wait(timeout=60)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    assert 0 < len(finished) < len(list((SAMPLE / "ct" / "images").glob("*")))
    kept = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()[1:]]
    done = volunet(*words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    with (out / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list((SAMPLE / "ct" / "images").glob("*")))
    for record in kept:
        path = out / record["output"]
        assert path.stat().st_mtime_ns == finished[path], "a finished case was done again"
    assert not list(out.glob("*.part")) + list(out.glob(".*.part"))
