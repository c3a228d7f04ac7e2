"""A run's held-out cases tell what looking less or more gives, in the time allowed."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch

import volunet as vn
from tests.api.held_out import noise_weights, write_case, write_run
from tests.training.tiny import PLAN
from volunet.api.asked import Watch
from volunet.api.calibration import calibrate_run, looks_for
from volunet.api.models import load
from volunet.errors import ConfigError, Stopped
from volunet.inference.calibration import Look
from volunet.packaging.model_file import load_model, read_model_file
from volunet.space.labels import Labels

CPU = torch.device("cpu")
WINDOWS = MappingProxyType({0.25: 8, 0.5: 27, 0.75: 64})  # of 16 cubed in 28 cubed


@pytest.fixture
def run(tmp_path):
    """A run's folder and its held-out cases; the weights are noise."""
    write_run(tmp_path, noise_weights())
    cases = [write_case(tmp_path, number) for number in range(3)]
    for case in cases:
        (tmp_path / "validation" / f"{case.case_id}.nii.gz").touch()
    return tmp_path, cases


def test_every_setting_is_measured_on_every_case_where_there_is_time(run):
    folder, cases = run
    found = calibrate_run(folder, load_model(folder, device=CPU), cases, mirror=(2,), most_s=1000)
    assert found.cases == 3
    assert found.left_out == ()
    assert found.rows[0].look == Look(overlap=0.5)
    plain = {r.look.overlap: r.windows for r in found.rows if r.look.skip_air and not r.look.mirror}
    assert plain == WINDOWS
    assert [r.windows for r in found.rows if r.look.mirror == (2,)] == [54]
    assert all(0 <= r.dice <= 1 and r.seconds > 0 for r in found.rows)
    assert read_model_file(folder).calibration == found


def test_the_dice_of_the_default_is_that_of_the_models_own_masks(run):
    folder, cases = run
    found = calibrate_run(folder, load_model(folder, device=CPU), cases, most_s=1000)
    segment, dice = load(folder, device="cpu", engine="torch", precision="fp32"), []
    for case in cases:
        mask = segment(vn.read(case.images[0])).labels.voxels[0] > 0
        truth = vn.read(case.label).voxels[0] > 0
        dice.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert found.rows[0].dice == pytest.approx(np.mean(dice), abs=2e-3)


def test_without_time_one_case_is_looked_at_with_the_default_and_the_cheapest_setting(run):
    folder, cases = run
    found = calibrate_run(folder, load_model(folder, device=CPU), cases, mirror=(0, 1, 2), most_s=0)
    assert found.cases == 1
    assert [r.look.overlap for r in found.rows] == [0.5, 0.25]
    assert Look(overlap=0.5, mirror=(0, 1, 2)) in found.left_out
    assert Look(overlap=0.75) in found.left_out


def test_what_there_is_no_time_for_is_not_looked_at(run):
    folder, cases = run
    seen = []

    class Counting:
        def __init__(self, engine):
            self.engine = engine

        def __str__(self):
            return str(self.engine)

        def __call__(self, windows):
            seen.append(len(windows))
            return self.engine(windows)

    segment = load_model(folder, device=CPU)
    segment = replace(segment, engines=tuple(map(Counting, segment.engines)))
    calibrate_run(folder, segment, cases, mirror=(0, 1, 2), most_s=0)
    assert sum(seen) == WINDOWS[0.5] + WINDOWS[0.25]


def test_who_is_asked_to_stop_stops_after_the_setting_at_work(run):
    folder, cases = run
    told = []
    watch = Watch(counted=lambda *count: told.append(count), should_stop=lambda: len(told) == 2)
    with pytest.raises(Stopped, match=r"trying settings.*the same command goes on"):
        calibrate_run(
            folder, load_model(folder, device=CPU), cases, most_s=1000, counted=watch.count
        )
    assert told == [("trying settings on a held-out case", n, 4) for n in (1, 2)]
    assert read_model_file(folder).calibration is None


def test_without_cases_the_model_stays_as_it_was(run):
    folder, cases = run
    (folder / "validation" / "case_0.nii.gz").unlink()
    assert calibrate_run(folder, load_model(folder, device=CPU), cases[:1], most_s=1000) is None
    assert read_model_file(folder).calibration is None
    with pytest.raises(ConfigError, match=r"no calibration.*volunet train"):
        load(folder, device="cpu", effort="fast")


def test_presets_are_loaded_by_name_and_say_what_they_cost(run):
    folder, cases = run
    found = calibrate_run(folder, load_model(folder, device=CPU), cases, most_s=1000)
    for preset in ("fast", "best"):
        said: list[str] = []
        model = load(folder, device="cpu", engine="torch", effort=preset, tell=said.append)
        assert model.effort.overlap == found.chosen(preset).look.overlap
        assert found.say(preset) in said
    with pytest.raises(ConfigError, match="one of fast, best"):
        load(folder, device="cpu", effort="quick")


def test_an_axis_is_mirrored_only_if_training_did_and_no_pair_swaps_by_it():
    pairs = Labels(structures={"left": 1, "right": 2}, pairs=(("left", "right"),))
    paired = PLAN.model_copy(update={"labels": pairs})
    assert not any(look.mirror for look in looks_for(PLAN, ()))
    assert [look.mirror for look in looks_for(PLAN, (2, 0)) if look.mirror] == [(0, 2)]
    assert [look.mirror for look in looks_for(paired, (2, 0)) if look.mirror] == [(2,)]
    assert not any(look.mirror for look in looks_for(paired, (0,)))


def test_the_plans_own_overlap_is_the_default():
    plan = PLAN.model_copy(update={"overlap": 0.3})
    assert [look.overlap for look in looks_for(plan, ()) if look.skip_air] == [
        0.3,
        0.25,
        0.5,
        0.75,
    ]


def test_the_order_of_slices_that_are_seen_one_by_one_is_not_mirrored():
    slices = PLAN.model_copy(
        update={"dimensions": 2, "patch": (16, 16, 1), "strides": ((2, 2, 1),)}
        | {"kernels": ((3, 3, 1), (3, 3, 1))}
    )
    assert [look.mirror for look in looks_for(slices, (0, 1, 2)) if look.mirror] == [(0, 1)]
