"""A deadline is kept, and the more time there is the nearer the mask is to one without it."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.inference.drawing import tilings
from tests.inference.less import CT, CT_SET, EVERYWHERE, LESS, Bright, Ramp, ct, plan_of, segmenter
from volunet.errors import OutOfTime
from volunet.inference.cover import Frame
from volunet.inference.doubt import Doubt, doubt_of
from volunet.inference.effort import Effort
from volunet.inference.segmenter import Segmenter
from volunet.space.box import Box

PATCH = (32, 32, 32)
WINDOW_S = 0.3


def scan():
    """A body that 5 windows side by side show, or 9 with overlap."""
    return ct((160, 32, 32), body=((80, 16, 16), 140))


def model(window_s: float = 0.0, effort: Effort = EVERYWHERE, *more: nn.Module) -> Segmenter:
    networks = (Ramp(PATCH, window_s=window_s), *more)
    return segmenter(plan_of(CT, patch=PATCH), CT_SET, effort, *networks)


def test_with_time_enough_the_mask_is_that_without_a_deadline():
    wanted, found = model()(scan()), model().by(60)(scan())
    np.testing.assert_array_equal(found.labels.voxels, wanted.labels.voxels)
    assert found.how["sure_share"] == 1
    assert "RUN-HURRIED" not in {f.code for f in found.findings}


def test_mirrors_networks_strips_and_skipped_air_are_all_there_with_time_enough():
    effort = replace(LESS, mirror=(0, 2), strips=2, batch=2)
    hard, volume = model(0.0, effort, Bright(0.3)), ct((70, 60, 50), body=((30, 30, 25), 36))
    wanted, found = hard(volume), hard.by(60)(volume)
    np.testing.assert_array_equal(found.labels.voxels, wanted.labels.voxels)


def test_the_clock_is_kept_and_what_there_was_no_time_for_is_told():
    limit_s, started = 2.4, perf_counter()
    found = model(WINDOW_S).by(limit_s)(scan())
    # All of it would take 14 windows of 0.3 s; half a second is for a machine that is busy.
    assert perf_counter() - started < 1.1 * limit_s + WINDOW_S + 0.5
    assert 5 < found.how["windows"] < 14
    assert 0 < found.how["sure_share"] < 1
    assert "RUN-HURRIED" in {f.code for f in found.findings}
    wanted, once = model()(scan()), model(0.0, replace(EVERYWHERE, overlap=0.0))(scan())
    before, after = (np.mean(m.labels.voxels == wanted.labels.voxels) for m in (once, found))
    assert before < after < 1


def test_a_deadline_that_is_too_near_for_one_look_is_told_early_and_gives_no_mask():
    clock = perf_counter()
    with pytest.raises(OutOfTime, match="too short"):
        model(WINDOW_S).by(1.3)(scan())
    assert perf_counter() - clock < 1.3
    with pytest.raises(OutOfTime, match="5 windows were left"):
        model().by(1e-6)(scan())


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
