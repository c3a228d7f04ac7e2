"""Training learns, keeps its budget, goes on where it stopped, and stops when it makes no sense."""

import csv
import multiprocessing
import os
import re
import signal
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.tiny import ball, job
from volunet.errors import DatasetError, Stopped, TrainingDiverged
from volunet.training.checkpoint import find_checkpoints
from volunet.training.fit import fit
from volunet.training.history import COLUMNS, read_history


def test_a_ball_is_learnt(tmp_path):
    done = fit(job(tmp_path, steps=80))
    assert done.score.each["ball"] > 0.8
    assert done.steps == 80
    losses = [float(row["loss"]) for row in read_history(tmp_path / "history.csv") if row["loss"]]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_the_same_seed_gives_the_same_weights(tmp_path):
    one, other = (fit(job(tmp_path / name, steps=6)).weights for name in ("a", "b"))
    third = fit(replace(job(tmp_path / "c", steps=6), seed=1)).weights
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], third[name]) for name in one)


def test_a_run_that_was_stopped_and_goes_on_ends_as_if_it_never_stopped(tmp_path):
    whole = fit(job(tmp_path / "whole", steps=12))
    asked = iter([False] * 4 + [True])
    with pytest.raises(Stopped, match="5 steps"):
        fit(job(tmp_path / "parts", steps=12), should_stop=lambda: next(asked))
    parts = fit(job(tmp_path / "parts", steps=12))
    assert parts.steps == 12
    assert all(torch.equal(whole.weights[name], parts.weights[name]) for name in whole.weights)
    rows = read_history(tmp_path / "parts" / "history.csv")
    steps = [int(row["step"]) for row in rows if row["loss"]]
    assert steps == list(range(1, 13))


def test_a_run_that_was_killed_after_its_last_step_still_ends(tmp_path):
    first = fit(job(tmp_path, steps=5))
    again = fit(job(tmp_path, steps=5))
    assert again.steps == 5
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)


def test_a_budget_in_seconds_ends_in_time_with_its_rate_decayed(tmp_path):
    started = time.monotonic()
    done = fit(job(tmp_path, seconds=6.0, validations=3))
    assert done.seconds == pytest.approx(6.0, rel=0.15)
    assert time.monotonic() - started < 9
    rates = [float(row["learning_rate"]) for row in read_history(tmp_path / "history.csv")]
    assert rates[-1] < 0.02 * max(rates)


def test_of_a_budget_with_one_validation_no_more_is_kept_back_than_that_takes(tmp_path):
    done = fit(job(tmp_path, seconds=5.0, validations=1))
    assert done.seconds == pytest.approx(5.0, rel=0.1)
    assert done.steps * done.step_s > 0.91 * 5.0  # a tenth was kept back for some milliseconds


def test_what_comes_before_the_first_step_of_a_budget_in_time_is_announced_and_kept(tmp_path):
    said = []
    done = fit(job(tmp_path / "s", seconds=2.0), say=said.append)
    about_time, timing = said
    assert "other weights another time; one in steps gives the same, bit for bit" in about_time
    assert timing.startswith("Timing the held-out case ball_1")
    assert re.search(r"segmented twice, the second time in [\d.]+ s, which is no", done.notes[0])
    said.clear()
    fit(job(tmp_path / "s", seconds=2.0), say=said.append)  # it goes on
    fit(job(tmp_path / "steps", steps=1), say=said.append)
    assert said == [f"Going on after step {done.steps}."]


def test_a_wish_to_stop_is_heard_before_the_first_step(tmp_path):
    asked = iter([True])
    with pytest.raises(Stopped, match="before the first step"):
        fit(job(tmp_path, seconds=60.0), should_stop=lambda: next(asked))
    assert not find_checkpoints(tmp_path / "checkpoints")


def test_a_loss_that_is_not_finite_names_the_cases_and_the_advice(tmp_path):
    sick = ball(0)
    image = sick.image.copy()
    image[:] = np.nan
    wanted = replace(job(tmp_path, steps=4), train=[replace(sick, image=image, case_id="sick")])
    with pytest.raises(TrainingDiverged, match=r"on the cases sick\. Look at these cases"):
        fit(wanted)
    assert not find_checkpoints(tmp_path / "checkpoints")


def test_without_a_case_there_is_nothing_to_train_on(tmp_path):
    with pytest.raises(DatasetError, match="no case to train on"):
        fit(replace(job(tmp_path, steps=1), train=[]))


def test_a_run_without_held_out_cases_ends_with_an_unknown_score(tmp_path):
    done = fit(replace(job(tmp_path, steps=2), validation=[]))
    assert np.isnan(done.score.mean)


def test_the_history_has_a_line_for_every_few_steps_and_the_validations(tmp_path):
    fit(job(tmp_path, steps=9, log_steps=3, validations=2))
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*COLUMNS, "val_dice", "val_cases")
    assert [int(row["step"]) for row in rows if not row["val_dice"]] == [3, 6, 9]
    assert [int(row["step"]) for row in rows if row["val_dice"]] == [5, 9]


def test_a_run_that_ended_is_not_scored_again(tmp_path):
    first = fit(job(tmp_path, steps=3))
    history = (tmp_path / "history.csv").read_bytes()
    again = fit(job(tmp_path, steps=3))
    assert again.score == first.score
    assert (tmp_path / "history.csv").read_bytes() == history


def test_nothing_of_a_run_that_ended_is_kept_in_memory(tmp_path):
    wanted = job(tmp_path, steps=2)
    case = weakref.ref(wanted.train[0].image)
    fit(wanted)
    del wanted
    assert case() is None


LONG = 200


@pytest.fixture
def one_thread():
    """On which sums are taken in the same order in every process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _train_slowly(folder):
    torch.set_num_threads(1)
    fit(job(folder, steps=LONG, checkpoint_s=0.2))


@pytest.mark.usefixtures("one_thread")
def test_kill_9_loses_no_more_than_one_checkpoint_interval_and_changes_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_train_slowly, args=(tmp_path,))
    child.start()
    deadline = time.monotonic() + 60
    while len(find_checkpoints(tmp_path / "checkpoints")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    seen = [int(row["step"]) for row in read_history(tmp_path / "history.csv") if row["loss"]]
    again = job(tmp_path, steps=LONG, checkpoint_s=0.2)
    starts = []
    made = fit(again, report=lambda progress: starts.append(progress.row.step))
    newest = starts[0] - 1
    assert 0 < newest <= seen[-1]
    steps = [int(r["step"]) for r in read_history(tmp_path / "history.csv") if r["loss"]]
    assert steps == list(range(1, again.budget.steps + 1))
    assert not list(tmp_path.rglob("*.part"))
    whole = fit(job(tmp_path / "whole", steps=LONG))
    assert all(torch.equal(whole.weights[name], w) for name, w in made.weights.items())


def test_what_diverged_since_the_last_line_is_not_scored_but_told(tmp_path):
    wanted = job(tmp_path, steps=8, validations=4, log_steps=100)
    bad = replace(wanted.train[0], image=np.full_like(wanted.train[0].image, np.nan))
    with pytest.raises(TrainingDiverged, match="ball_0"):
        fit(replace(wanted, train=[bad]))


def test_a_wish_to_stop_is_heard_while_cases_are_scored(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = fit(job(tmp_path / "whole", steps=4, validations=2))
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return asked == 3  # after two steps and the first of two cases

    with pytest.raises(Stopped, match="Stopped after 2 steps"):
        fit(job(tmp_path / "parts", steps=4, validations=2), should_stop=stop)
    gone_on = fit(job(tmp_path / "parts", steps=4, validations=2))
    assert all(torch.equal(whole.weights[n], w) for n, w in gone_on.weights.items())
    rows = [read_history(tmp_path / name / "history.csv") for name in ("whole", "parts")]
    for one, other in zip(*rows, strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {
            k: v for k, v in other.items() if k != "seconds"
        }
