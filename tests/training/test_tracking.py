"""TensorBoard and MLflow follow a run line for line, through stops, and change nothing of it."""

import shutil
import sys
from dataclasses import replace
from math import isnan

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.cli.command import SAMPLE, SMOKE, volunet
from tests.inference.engines.test_quiet import GUARD, in_a_child
from tests.training.test_processes import results
from tests.training.tiny import job
from volunet.api.asked import Wanted
from volunet.api.crossval import cross_validate
from volunet.api.training import train
from volunet.cli.exits import USAGE, code_of
from volunet.errors import ConfigError, MissingExtra, Stopped
from volunet.training.budget import Budget
from volunet.training.fit import fit
from volunet.training.handlers import Progress
from volunet.training.history import Row, read_history
from volunet.training.trackers.mlflow import import_mlflow
from volunet.training.tracking import (
    Followers,
    Tracking,
    check_trackers,
    followed,
    name_parameters,
)
from volunet.training.validate import Score

BOTH = Tracking(("tensorboard", "mlflow"), {"seed": 0, "plan.patch": "[16, 16, 16]"})
COLUMNS = ("loss", "learning_rate", "grad_norm", "val_dice")
STEPS = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that both follow from its first step to its last."""
    folder = tmp_path_factory.mktemp("whole")
    done = fit(job(folder, steps=STEPS, validations=2), tracking=BOTH)
    assert done.notes == ()
    return folder, done


@pytest.fixture
def begun(whole, tmp_path):
    """A folder with a store of MLflow's in it, as one takes seconds to make."""
    folder = tmp_path / "Nière, 1 #"
    (folder / "mlflow").mkdir(parents=True)
    shutil.copy(whole[0] / "mlflow" / "mlflow.db", folder / "mlflow")
    return folder


def told_by(history):
    """Each column of a history as (step, value), one a step."""
    rows = read_history(history / "history.csv")
    columns = {n: {int(r["step"]): float(r[n]) for r in rows if r[n]} for n in COLUMNS}
    return {name: sorted(points.items()) for name, points in columns.items()}


def told_by_tensorboard(folder):
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def run_of(folder, uri=None):
    """MLflow's client and the run that a folder names."""
    client = import_mlflow().MlflowClient(uri or f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    return client, client.get_run((folder / "mlflow" / "run_id.txt").read_text().strip())


def told_by_mlflow(folder):
    client, run = run_of(folder)
    return {
        name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def same(curve, other):
    assert [step for step, _ in curve] == [step for step, _ in other]
    assert [value for _, value in curve] == pytest.approx([v for _, v in other], rel=1e-5)


@pytest.mark.parametrize("told", [told_by_tensorboard, told_by_mlflow])
def test_every_line_of_the_history_is_on_the_curves(told, whole):
    folder, done = whole
    curves, lines = told(folder), told_by(folder)
    assert set(curves) == {*COLUMNS, "val_dice/ball"}
    for name in COLUMNS:
        same(curves[name], lines[name])
    assert [step for step, _ in lines["loss"]] == list(range(1, STEPS + 1))
    assert [step for step, _ in curves["val_dice/ball"]] == [STEPS // 2, STEPS]
    assert curves["val_dice/ball"][-1][1] == pytest.approx(done.score.each["ball"])


def test_what_a_run_is_made_with_is_kept_once(whole):
    _, run = run_of(whole[0])
    assert run.data.params == {"seed": "0", "plan.patch": "[16, 16, 16]"}
    assert run.info.status == "FINISHED"
    assert run.info.run_name == whole[0].name
    events = EventAccumulator(str(whole[0] / "tensorboard")).Reload()
    kept = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    assert b"plan.patch" in kept
    assert b"[16, 16, 16]" in kept


def test_a_run_that_is_followed_learns_the_same(whole, tmp_path):
    alone = fit(job(tmp_path, steps=STEPS, validations=2)).weights
    assert all(torch.equal(alone[name], weight) for name, weight in whole[1].weights.items())


def test_a_run_that_goes_on_goes_on_on_the_same_curves(whole, begun):
    asked = iter([False] * 4 + [True])
    wanted = job(begun, steps=STEPS, validations=2)
    with pytest.raises(Stopped):
        fit(wanted, should_stop=lambda: next(asked), tracking=BOTH)
    _, stopped = run_of(begun)
    assert stopped.info.status == "KILLED"
    fit(wanted, tracking=BOTH)
    _, ended = run_of(begun)
    assert ended.info.run_id == stopped.info.run_id
    assert ended.info.status == "FINISHED"
    for told in (told_by_tensorboard, told_by_mlflow):
        first, second = told(whole[0]), told(begun)
        assert set(first) == set(second)
        for name in first:
            same(first[name], second[name])


def test_steps_that_are_taken_again_stand_on_the_curves_once(begun):
    checkpoints, earlier = begun / "checkpoints", begun / "earlier"
    taken = 0

    def stop():
        nonlocal taken
        taken += 1
        if taken == 7:  # after step 5: it is also asked after each of two cases at step 4
            shutil.copytree(checkpoints, earlier)
        return taken == 8

    wanted = job(begun, steps=STEPS, validations=2, checkpoint_s=1e-9)
    with pytest.raises(Stopped):
        fit(wanted, should_stop=stop, tracking=BOTH)
    shutil.rmtree(checkpoints)
    earlier.rename(checkpoints)  # as if it had been killed
    seen = []
    fit(wanted, report=lambda progress: seen.append(progress.row.step), tracking=BOTH)
    assert seen[0] == 5
    lines = told_by(begun)
    for told in (told_by_tensorboard, told_by_mlflow):
        curves = told(begun)
        for name in COLUMNS:
            same(curves[name], lines[name])


def test_the_store_that_the_environment_names_is_taken(begun, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere.db"
    (begun / "mlflow" / "mlflow.db").rename(elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "balls")
    fit(job(begun, steps=2), tracking=replace(BOTH, by=("mlflow",)))
    client, run = run_of(begun, f"sqlite:///{elsewhere}")
    assert client.get_experiment(run.info.experiment_id).name == "balls"
    assert [path.name for path in (begun / "mlflow").iterdir()] == ["run_id.txt"]


def test_a_store_that_cannot_be_opened_is_advice_before_any_step(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at/all")
    with pytest.raises(ConfigError, match="Set MLFLOW_TRACKING_URI to a store that answers"):
        fit(job(tmp_path, steps=2), tracking=BOTH)
    assert not (tmp_path / "history.csv").exists()


class FullDisk:
    """A tracker whose disk is full at the second line."""

    def __init__(self):
        self.steps, self.end = [], None

    def write(self, step, values):
        if self.steps:
            raise OSError(28, "No space left on device")
        self.steps.append(step)

    def close(self, end):
        self.end = end


def line(step, **more):
    return Progress(Row(step, 1.0, 0.5, 0.1, 2.0), Budget(steps=9), step / 9, **more)


def test_a_tracker_that_cannot_go_on_is_let_go_with_a_note():
    seen, full = [], FullDisk()
    followers = Followers(seen.append)
    followers.add("tensorboard", full)
    for step in (1, 2, 3):
        followers.report(line(step))
    assert [len(progress.notes) for progress in seen] == [0, 1, 0]
    assert "tensorboard follows no more from step 2 on: OSError" in seen[1].notes[0]
    assert followers.lost == seen[1].notes
    assert full.end == "FAILED"


def test_a_score_that_nobody_knows_is_on_no_curve(tmp_path):
    with followed(Tracking(("tensorboard",)), tmp_path, step=0, report=lambda _: None) as followers:
        followers.report(line(1, score=Score({"left (a/b)": 0.5, "none": float("nan")}, 1)))
    curves = told_by_tensorboard(tmp_path)
    assert {n for n in curves if n.startswith("val_dice")} == {"val_dice/left (a/b)"}
    assert not any(isnan(value) for points in curves.values() for _, value in points)


def test_a_structure_of_any_name_has_a_curve_in_mlflow(begun):
    with followed(replace(BOTH, by=("mlflow",)), begun, step=0, report=lambda _: None) as followers:
        followers.report(line(1, score=Score({"left (a/b)": 0.5, "Nière": 0.25, "..": 0.75}, 1)))
    assert followers.lost == ()
    assert {"val_dice/left _a_b_", "val_dice/Nière", "val_dice/_"} < set(told_by_mlflow(begun))


def test_a_name_that_no_tracker_has_is_a_usage_error():
    with pytest.raises(ConfigError, match="one of tensorboard, mlflow, got 'wandb'"):
        check_trackers(["wandb"])


def test_long_values_are_cut_and_empty_ones_left_out():
    named = name_parameters({"labels": {str(n): n for n in range(2000)}, "a": {"b": None, "c": 1}})
    assert set(named) == {"labels", "a.c"}
    assert len(named["labels"]) == 5000


@pytest.mark.parametrize("package", ["tensorboard", "mlflow", "sqlalchemy"])
def test_a_missing_extra_is_told_before_anything_is_done(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    wanted = Wanted(track=("tensorboard", "mlflow"))
    for starts in (train, cross_validate):
        with pytest.raises(MissingExtra, match=r"pip install 'volunet\[track\]'") as missing:
            starts(tmp_path / "nothing", tmp_path / "run", wanted=wanted)
        assert code_of(missing.value) == USAGE
    assert list(tmp_path.iterdir()) == []


NO_NETWORK = GUARD.replace(
    'event.startswith("socket.")', 'event.startswith("socket.") and event != "socket.gethostname"'
)
QUIETLY = """
import logging, os, threading
from pathlib import Path
import torch
from tests.training.tiny import job
from volunet.training.fit import fit
from volunet.training.tracking import Tracking

torch.set_num_threads(1)
def files():
    return {str(p) for p in Path.home().rglob("*") if p.is_file()}

fit(job(Path("alone"), steps=1))
before, known, root = dict(os.environ), files(), logging.getLogger()
state = root.level, root.handlers[:]
done = fit(job(Path("run"), steps=2), tracking=Tracking(("tensorboard", "mlflow"), {"seed": 0}))
assert done.notes == (), done.notes
assert os.environ.items() <= before.items()
assert (root.level, root.handlers) == state
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
assert "git" not in sys.modules, "MLflow asked git"
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
print(*sorted(files() - known))
"""


def test_what_follows_a_run_opens_no_socket_and_says_nothing(tmp_path):
    """TensorBoard's files are named by this machine, which is asked for its own name only."""
    assert "gethostname" in NO_NETWORK
    done = in_a_child(NO_NETWORK + QUIETLY, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    left = done.stdout.split()
    assert len(left) > 3
    assert all(path.startswith(str(tmp_path / "run")) for path in left)


@pytest.mark.slow
def test_of_two_processes_the_first_is_followed(tmp_path):
    results("track", tmp_path)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    same(told_by_tensorboard(tmp_path)["loss"], told_by(tmp_path)["loss"])


@pytest.mark.slow
def test_the_command_is_followed_and_a_run_may_go_on_without(tmp_path):
    words = ("train", SAMPLE / "mr", "-o", tmp_path / "run", "-r", SMOKE, "-d", "cpu")
    done = volunet(*words, "--track", "tensorboard", "--track", "mlflow", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mlflow" not in done.stderr.lower()
    lines = told_by(tmp_path / "run")
    for told in (told_by_tensorboard, told_by_mlflow):
        same(told(tmp_path / "run")["loss"], lines["loss"])
    _, run = run_of(tmp_path / "run")
    assert run.data.params["plan.patch"] == "[16, 16, 16]"
    assert run.data.params["plan.features"] == "[4, 8]"
    assert run.data.params["training.optimisation.learning_rate"] == "0.01"
    again = volunet(*words, home=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "has ended already" in again.stderr


def test_parameters_are_called_so_that_mlflow_takes_them(begun):
    parameters = {"training.loss.class_weights.kidney (left)": 2.0}
    with followed(Tracking(("mlflow",), parameters), begun, step=0, report=lambda _: None):
        pass
    _, run = run_of(begun)
    assert run.data.params == {"training.loss.class_weights.kidney _left_": "2.0"}
