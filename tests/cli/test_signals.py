"""A command that is asked to stop while it reads ends with exit 75 and one sentence."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.cli.command import SMOKE, command, surroundings
from tests.data.on_disk import write_nifti

STOPS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A dataset that takes some seconds to read."""
    root, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    label = np.zeros((32, 32, 32), np.uint8)
    label[8:24, 8:24, 8:24] = 1
    for case in range(150):
        image = rng.normal(size=label.shape).astype(np.float32)
        write_nifti(root / "images" / f"{case:03d}.nii", image)
        write_nifti(root / "labels" / f"{case:03d}.nii", label)
    (root / "labels.json").write_text('{"labels": {"cube": 1}}')
    return root


def stop_at(words, number, *arguments, home):
    """The exit code and what was said, when a signal comes as soon as `words` are said."""
    process = subprocess.Popen(
        command(*arguments),
        env=surroundings(home),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            process.send_signal(number)
            break
    said += process.communicate(timeout=60)[1]
    return process.returncode, said


@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize(
    ("words", "arguments"),
    [("checking", ("check",)), ("looking at cases", ("plan", "-r", SMOKE, "-d", "cpu"))],
)
def test_reading_ends_at_once(words, arguments, number, many, tmp_path):
    code, said = stop_at(words, number, *arguments, many, home=tmp_path)
    assert code == 75, said
    assert "Stopped before the end" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "number", [STOPS[0], *(pytest.param(n, marks=pytest.mark.slow) for n in STOPS[1:])]
)
def test_training_is_stopped_before_it_has_begun(number, many, tmp_path):
    words = ("train", many, "-o", tmp_path / "run", "-r", SMOKE, "-d", "cpu")
    code, said = stop_at("looking at cases", number, *words, home=tmp_path)
    assert code == 75, said
    assert "Stopped while" in said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run" / "checkpoints").exists()


IGNORED = """
import os, signal
from volunet.cli.exits import Stop
signal.signal(signal.SIGHUP, signal.SIG_IGN)
stop = Stop()
os.kill(os.getpid(), signal.SIGHUP)
assert not stop(), "a terminal that closed stopped it"
os.kill(os.getpid(), signal.SIGTERM)
assert stop(), "nothing stops it"
"""


def test_a_command_under_nohup_outlives_its_terminal():
    done = subprocess.run(
        [sys.executable, "-c", IGNORED], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
