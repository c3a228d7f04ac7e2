"""A deadline is kept, and the more time there is the nearer the mask is to one without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.inference.drawing import tilings
from tests.inference.less import CT, CT_SET, EVERYWHERE, LESS, Bright, Ramp, ct, plan_of, segmenter
from volunet.errors import ConfigError, OutOfTime
from volunet.inference.asked import label_as_asked
from volunet.inference.cover import Frame
from volunet.inference.deadline import InTime, Watch, label_in_time
from volunet.inference.doubt import Doubt, doubt_of
from volunet.inference.effort import Effort
from volunet.inference.engines.engine import Engine
from volunet.inference.labelling import Labelling
from volunet.inference.segmenter import Segmenter
from volunet.inference.view import view_scan
from volunet.space.box import Box

PATCH = (32, 32, 32)


def scan():
    """A body that 5 windows side by side show, or 9 with overlap."""
    return ct((160, 32, 32), body=((80, 16, 16), 140))


def model(effort: Effort = EVERYWHERE, *more: nn.Module) -> Segmenter:
    return segmenter(plan_of(CT, patch=PATCH), CT_SET, effort, Ramp(PATCH), *more)


@dataclass
class Hours:
    """A clock that goes on by what windows take, one second each, and the rest nothing."""

    now: float = 0.0
    slower: float = 1.0
    seen: int = 0

    def __call__(self) -> float:
        return self.now

    def of(self, engine: Engine) -> Engine:
        def timed(windows):
            self.now += self.slower ** (self.seen >= 5)
            self.seen += 1
            return engine(windows)

        return timed


def label(limit_s: float, hours: Hours, ending_s: float = 0.0) -> InTime:
    """Labels of the scan by a model that takes a second for a window."""
    whole, volume = model(), scan()
    view = view_scan(volume, whole.plan, CT_SET, EVERYWHERE)
    engines = [hours.of(engine) for engine in whole.engines]
    labelling = Labelling(engines, whole.plan, view, volume.grid)
    watch = Watch(limit_s, now=hours)
    return label_in_time(labelling, EVERYWHERE, watch, ending_s=lambda labels: ending_s)


def test_with_time_enough_the_mask_is_that_without_a_deadline():
    wanted, found = model()(scan()), model().by(60)(scan())
    np.testing.assert_array_equal(found.labels.voxels, wanted.labels.voxels)
    assert found.how["sure_share"] == 1
    assert "RUN-HURRIED" not in {f.code for f in found.findings}


def test_mirrors_networks_strips_and_skipped_air_are_all_there_with_time_enough():
    effort = replace(LESS, mirror=(0, 2), strips=2, batch=2)
    hard, volume = model(effort, Bright(0.3)), ct((70, 60, 50), body=((30, 30, 25), 36))
    wanted, found = hard(volume), hard.by(60)(volume)
    np.testing.assert_array_equal(found.labels.voxels, wanted.labels.voxels)


def classes() -> np.ndarray:
    """What the model says of the scan without a deadline."""
    whole = model()
    return whole.plan.labels.to_index(whole(scan()).labels.voxels[0])


@pytest.mark.parametrize("limit_s", [5.5, 7, 8.5, 10, 12, 14])
def test_the_clock_is_kept_and_more_time_leaves_less_doubt(limit_s):
    hours = Hours()
    made = label(limit_s, hours)
    assert 5 <= hours.now <= limit_s
    assert 0 <= made.sure < 1
    assert made.sure <= label(limit_s + 1.5, Hours()).sure
    once = label(5, Hours())
    assert once.sure == 0
    changed = made.labels != once.labels
    np.testing.assert_array_equal(made.labels[changed], classes()[changed])


def test_all_is_sure_once_there_is_time_for_both_looks_and_for_what_is_kept_back():
    hours = Hours()
    made = label(16, hours)
    assert (hours.now, made.sure) == (14, 1)
    np.testing.assert_array_equal(made.labels, classes())


def test_time_for_what_comes_after_is_kept_back():
    hours = Hours()
    label(12, hours, ending_s=3.0)
    assert hours.now <= 9


def test_an_engine_that_gets_slower_is_stopped_in_time_and_its_windows_count_as_unseen():
    hours = Hours(slower=2.0)
    made = label(11, hours)
    assert hours.now <= 11 + 2
    assert made.sure < label(11, Hours()).sure
    changed = made.labels != label(5, Hours()).labels
    np.testing.assert_array_equal(made.labels[changed], classes()[changed])


def test_a_deadline_that_is_too_near_for_one_look_is_told_as_soon_as_it_is_sure():
    hours = Hours()
    with pytest.raises(OutOfTime, match=r"4.5 s are too short.* 2 windows were left, of 1 s each"):
        label(4.5, hours)
    assert hours.now == 3
    with pytest.raises(OutOfTime, match="5 windows were left"):
        model().by(1e-6)(scan())


def test_what_there_was_no_time_for_is_a_finding():
    hours, volume, whole = Hours(), scan(), model()
    view = view_scan(volume, whole.plan, CT_SET, EVERYWHERE)
    labelling = Labelling([hours.of(whole.engines[0])], whole.plan, view, volume.grid)
    made = label_as_asked(labelling, EVERYWHERE, Watch(8, now=hours))
    assert [f.code for f in made.findings] == ["RUN-HURRIED"]
    assert made.findings[0].numbers["sure"] == round(made.sure, 4)


def test_a_deadline_gives_other_masks_so_it_is_another_model_to_whoever_keeps_them():
    assert len({model().identity, model().by(1).identity, model().by(2).identity}) == 3


@settings(max_examples=60)
@given(tilings(), st.data())
def test_a_voxel_is_sure_when_all_windows_that_show_it_were_seen(drawn, data):
    shape, patch, overlap = drawn
    frame = Frame.around(shape, patch, overlap)
    doubt = Doubt(frame, regions=False)
    doubt.parts[:] = 1
    boxes = frame.tiling.boxes()
    seen = {box for box in boxes if data.draw(st.booleans())}
    sure = doubt.settle(seen)
    wanted = np.ones(shape, dtype=bool)
    for box in boxes:
        if box not in seen:
            wanted[box.index] = False
    np.testing.assert_array_equal(sure > 0, wanted)


@given(tilings(), st.integers(0, 40))
def test_windows_are_chosen_for_the_parts_of_most_doubt_and_never_too_many(drawn, most):
    frame = Frame.around(*drawn)
    doubt = Doubt(frame, regions=False)
    logits = torch.full((2, *frame.shape), 9.0)
    logits[0] = 0
    logits[:, 0, 0, 0] = torch.tensor([0.0, 0.1])
    doubt.add((Box.whole(frame.shape), logits))
    chosen = doubt.choose(most)
    assert len(chosen) <= most
    if most:
        assert chosen[0].start == (0, 0, 0)
    doubt.parts[:] = 1
    everything = doubt.choose(len(frame.tiling.boxes()))
    assert everything == frame.tiling.boxes()
    doubt.settle(set(everything))
    assert not doubt.parts.any()


def test_doubt_is_half_at_a_tie_falls_with_the_margin_and_is_nothing_where_nothing_was_seen():
    logits = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.001, 3.0, 9.0, 0.0], [0.0, -4.0, 0.5, 0.0]])
    tie, near, far, unseen = doubt_of(logits, regions=False)
    assert 0.49 < tie < 0.5
    assert tie > near > far > unseen == 0
    torch.testing.assert_close(near, torch.sigmoid(torch.tensor(-2.0)))
    one_region = doubt_of(torch.tensor([[0.1, -5.0]]), regions=True)
    torch.testing.assert_close(one_region, torch.sigmoid(torch.tensor([-0.1, -5.0])))


def test_where_no_second_look_fits_nothing_is_tried_out_on_the_first():
    def ending_s(labels):
        raise AssertionError("asked for, though no time is left")

    hours, whole, volume = Hours(), model(), scan()
    view = view_scan(volume, whole.plan, CT_SET, EVERYWHERE)
    engines = [hours.of(engine) for engine in whole.engines]
    labelling = Labelling(engines, whole.plan, view, volume.grid)
    made = label_in_time(labelling, EVERYWHERE, Watch(5.0, now=hours), ending_s=ending_s)
    assert made.sure == 0
    assert made.labels.any()


@pytest.mark.parametrize("names", [("kidney_l", "kidney_r"), ("left_atrium", "aorta")])
def test_no_mirror_swaps_left_and_right(names):
    plan = plan_of(CT, patch=PATCH)
    sided = plan.labels.model_copy(update={"structures": dict(zip(names, (1, 5), strict=True))})
    whole = segmenter(plan.model_copy(update={"labels": sided}), CT_SET, EVERYWHERE, Ramp(PATCH))
    with pytest.raises(ConfigError, match="Mirror along axes 1 and 2"):
        whole.with_effort(Effort(mirror=(0, 1)))
    assert whole.with_effort(Effort(mirror=(1, 2))).effort.mirror == (1, 2)
    assert model().with_effort(Effort(mirror=(0,))).effort.mirror == (0,)
