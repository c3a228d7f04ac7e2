"""Two processes that train together are one with batches twice as large."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cli.command import ROOT, SAMPLE, SMOKE, command, surroundings
from tests.training.tiny import job
from tests.training.together import take_steps
from volunet.errors import ConfigError
from volunet.training.checkpoint import load_newest
from volunet.training.fit import fit
from volunet.training.history import read_history
from volunet.training.processes import ALONE
from volunet.training.slurm import told_by_srun

CPU = torch.device("cpu")


def torchrun(*words, home: Path, **told: str) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine; `told` are variables of their surroundings."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*launch, *map(str, words)],
        env=surroundings(home) | told,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


def results(task: str, folder: Path, **told: str) -> list[dict]:
    done = torchrun("-m", "tests.training.together", task, folder, home=folder, **told)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{task}_{rank}.pt") for rank in range(2)]


SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2"}
SLURM |= {"SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "node[1-2]"}
"""As of the second of two nodes, on each of which `srun` started one `torchrun`."""


@pytest.mark.parametrize("told", [{}, SLURM], ids=["alone", "under SLURM"])
def test_steps_of_two_are_steps_of_one_with_both_batches(tmp_path, told):
    one, two = results("steps", tmp_path, **told)
    alone = take_steps(tmp_path, ALONE)
    for name, weight in alone["weights"].items():
        assert torch.equal(one["weights"][name], two["weights"][name])
        torch.testing.assert_close(one["weights"][name], weight, rtol=1e-3, atol=1e-4)
    for process in (one, two):
        torch.testing.assert_close(process["losses"], alone["losses"], rtol=1e-4, atol=1e-5)


def task_of_two(rank: int, folder: Path) -> subprocess.Popen[str]:
    """A process in surroundings as `srun` makes them for one of two tasks on this machine."""
    told = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    told |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(20_000 + os.getpid() % 10_000)}
    words = [sys.executable, "-m", "tests.training.together", "steps", str(folder)]
    return subprocess.Popen(
        words, env=surroundings(folder) | told, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def test_two_tasks_of_srun_train_together_without_torchrun(tmp_path):
    tasks = [task_of_two(rank, tmp_path) for rank in range(2)]
    ends = [task.communicate(timeout=240)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], ends[0][-3000:]
    one, two = (torch.load(tmp_path / f"steps_{rank}.pt") for rank in range(2))
    alone = take_steps(tmp_path, ALONE)
    assert all(torch.equal(weight, two["weights"][name]) for name, weight in one["weights"].items())
    torch.testing.assert_close(one["losses"], alone["losses"], rtol=1e-4, atol=1e-5)


STEP = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}


def test_what_srun_tells_is_told_in_torch_s_words():
    asked = STEP | {"MASTER_ADDR": "gpu03"}
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert told_by_srun(asked) == told | {"MASTER_PORT": "29500"}
    assert told_by_srun(asked | {"MASTER_PORT": "7"}) == told | {"MASTER_PORT": "7"}


@pytest.mark.parametrize(
    "said",
    [
        {},
        STEP,
        STEP | {"MASTER_ADDR": "gpu03", "SLURM_STEP_NUM_TASKS": "1"},
        STEP | {"MASTER_ADDR": "gpu03", "WORLD_SIZE": "2"},
        SLURM | {"MASTER_ADDR": "gpu03"},
    ],
)
def test_tasks_that_train_apart_or_that_torchrun_started_are_told_nothing_by_srun(said):
    assert told_by_srun(said) == {}


@pytest.mark.slow
def test_a_run_of_two_is_written_once_and_goes_on_where_it_stopped(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    first, second = results("train", whole)
    assert all(torch.equal(w, second["weights"][name]) for name, w in first["weights"].items())
    assert first["dice"] == second["dice"]
    assert first["cases"] == 2
    steps = [int(row["step"]) for row in read_history(whole / "history.csv") if row["loss"]]
    assert steps == [2, 4, 6, 8]
    for process in results("stop", parts):
        assert process["stopped"].startswith("Stopped after 3 steps")
    state = load_newest(parts / "checkpoints", CPU)
    assert len(state["rngs"]) == 2
    assert state["rngs"][0] != state["rngs"][1]
    with pytest.raises(ConfigError, match="trained by 2 processes so far, and there are 1"):
        fit(job(parts, steps=8, validations=2, log_steps=2))
    gone_on, _ = results("train", parts)
    assert all(torch.equal(w, gone_on["weights"][name]) for name, w in first["weights"].items())


@pytest.mark.slow
def test_what_one_process_learns_of_its_held_out_cases_is_told_by_the_first(tmp_path):
    for process in results("vast", tmp_path):
        told = sorted(note for note in process["notes"] if "does not fit the memory" in note)
        assert [note.split()[1] for note in told] == ["first", "second"]


@pytest.mark.slow
def test_the_command_under_torchrun_makes_one_model_and_speaks_once(tmp_path):
    run = tmp_path / "run"
    words = ("-m", "volunet.cli.main", "train", SAMPLE / "mr", "-o", run, "-r", SMOKE)
    done = torchrun(*words, home=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert (run / "model" / "model.json").is_file()
    assert (done.stdout + done.stderr).count("The model is in") == 1
    assert len(list((run / "validation").glob("*.nii.gz"))) == 1
    folds = torchrun(*words[:-4], "-o", tmp_path / "cv", "--folds", "2", home=tmp_path)
    assert folds.returncode != 0
    assert "with --fold" in folds.stderr


@pytest.mark.slow
def test_where_the_first_process_cannot_begin_the_others_do_not_report_a_fault(tmp_path):
    words = ("-m", "volunet.cli.main", "train", SAMPLE / "mr", "-o", tmp_path / "run", "-r", SMOKE)
    done = torchrun(*words, "--set", "plan.patch=[4096,4096,4096]", home=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("Set a smaller patch") == 1
    assert "The first process could not begin" in done.stderr
    assert "did not expect" not in done.stderr


def test_processes_that_are_told_different_folders_are_refused(tmp_path):
    tasks = []
    for rank in range(2):
        told = surroundings(tmp_path) | {"RANK": str(rank), "WORLD_SIZE": "2"}
        told |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(30_000 + os.getpid() % 10_000)}
        words = command("train", SAMPLE / "mr", "-o", tmp_path / f"run_{rank}", "-r", SMOKE)
        tasks.append(subprocess.Popen(words, env=told, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    said = [task.communicate(timeout=240)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [2, 2], said
    assert all("told different things" in text for text in said)
    assert not any((tmp_path / f"run_{rank}").exists() for rank in range(2))
