"""The memory that is told beforehand is the memory that is taken, measured in a process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cohort.contract import write_model
from volunet.io.write import write
from volunet.space.grid import Grid
from volunet.space.volume import Volume

COMMAND = [sys.executable, "-m", "tests.cohort.contract"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of 24 classes, and a scan of 256 x 256 x 160 voxels."""
    folder = tmp_path_factory.mktemp("contract")
    write_model(folder / "model")
    voxels = np.random.default_rng(0).normal(0, 300, (1, 256, 256, 160)).astype(np.int16)
    write(Volume(voxels, Grid((256, 256, 160), np.eye(4))), folder / "scan.nii.gz")
    return folder


def run(place: Path, limit: str, *, address_space: int = 0) -> tuple[int, float, dict]:
    """Exit code and peak resident memory (GB) of a child, and its run record."""

    def bound() -> None:
        if address_space:
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

    out = place / f"out {limit} {address_space}"
    child = subprocess.Popen(
        [*COMMAND, str(place / "scan.nii.gz"), str(place / "model"), str(out), limit],
        cwd=ROOT,
        preexec_fn=bound,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return (
        child.returncode,
        usage.ru_maxrss * 1024 / 1e9,
        json.loads((out / "run.json").read_text()),
    )


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["8GB", "1.25GB", "1GB"])
def test_the_predicted_peak_is_within_a_fifth_of_the_measured_one(place, limit):
    code, measured, record = run(place, limit)
    assert (code, record["counts"]) == (0, {"ok": 1})
    assert record["predicted_peak_gb"] == pytest.approx(measured, rel=0.2)
    assert measured <= float(limit[:-2])


@pytest.mark.slow
def test_a_run_needs_no_more_address_space_than_an_idle_process_and_its_prediction(place):
    """Libraries and threads reserve addresses that they never touch: those of an idle one count."""
    idle = subprocess.run([*COMMAND, "idle"], cwd=ROOT, capture_output=True, check=True, text=True)
    predicted = run(place, "1GB")[2]["predicted_peak_gb"]
    limit = int(idle.stdout) + int(predicted * 1e9)
    code, _, record = run(place, "1GB", address_space=limit)
    assert (code, record["counts"]) == (0, {"ok": 1})


@pytest.mark.slow
def test_too_little_is_refused_at_once(place):
    code, measured, record = run(place, "500MB")
    assert (code, record["counts"]) == (4, {"refused": 1})
    assert measured < 0.5
