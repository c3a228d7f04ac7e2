"""Scoring held-out cases keeps to its time, and a run keeps to its budget all the same."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.planning.drawing import estimating_plan
from tests.training.tiny import PLAN, ball, job
from volunet.data.cache import Prepared
from volunet.errors import Stopped
from volunet.planning.targets import Scale
from volunet.space.grid import Grid
from volunet.training.fit import fit
from volunet.training.history import read_history
from volunet.training.measure import PSNR
from volunet.training.scoring import scoring_s
from volunet.training.validate import (
    MOST_DB,
    looking,
    mean_score,
    psnr_of,
    score_cases,
)


def looks(network):
    return looking(network, torch.device("cpu"), torch.float32)


def test_scoring_stops_when_its_time_is_up_but_not_before_one_case():
    network = PLAN.build_network()
    cases = [ball(n) for n in range(6)]
    assert len(score_cases(looks(network), cases, PLAN)) == 6
    assert len(score_cases(looks(network), cases, PLAN, most_s=0.0)) == 1
    assert score_cases(looks(network), [], PLAN) == []


def test_windows_of_nothing_but_air_are_background_and_cost_nothing():
    class Counts(nn.Module):
        seen = 0

        def forward(self, windows):
            self.seen += 1
            ball = windows - 0.5
            return torch.cat((torch.zeros_like(ball), ball), dim=1)

    small, network = ball(0), Counts()
    image = np.zeros((1, 20, 20, 80), dtype=np.float32)
    label = np.zeros(image.shape[1:], dtype=np.uint8)
    image[..., :20], label[..., :20] = small.label, small.label
    case = replace(small, image=image, label=label, grid=Grid(label.shape, np.eye(4)))
    assert score_cases(looks(network), [case], PLAN) == [[1.0]]
    assert 0 < network.seen < 20  # 2 x 2 x 9 cover it
    network.seen = 0
    assert score_cases(looks(network), [replace(case, image=image * 0)], PLAN) == [[0.0]]
    assert network.seen == 36


def test_a_mean_is_over_the_cases_that_have_a_dice():
    nan = float("nan")
    score = mean_score([[0.5, nan], [1.0, nan]], ["liver", "spleen"])
    assert (score.cases, score.each["liver"], score.mean) == (2, 0.75, 0.75)
    assert np.isnan(score.each["spleen"])
    none = mean_score([], ["liver"])
    assert none.cases == 0
    assert np.isnan(none.mean)


def test_many_held_out_cases_do_not_eat_the_budget(tmp_path):
    wanted = job(tmp_path, seconds=4.0, validations=4)
    many = [ball(n) for n in range(400)]
    started = time.monotonic()
    done = fit(wanted.__class__(**{**vars(wanted), "validation": many}))
    assert time.monotonic() - started < 6
    assert 0 < done.score.cases < 400
    assert done.steps > 10


def test_one_large_held_out_case_does_not_eat_the_budget(tmp_path):
    small = ball(0)
    many = (1, 3, 3, 3)  # balls
    large = replace(
        small,
        image=np.tile(small.image, many),
        label=np.tile(small.label, many[1:]),
        grid=Grid((60, 60, 60), np.eye(4)),
    )
    wanted = replace(job(tmp_path, seconds=8.0, validations=8), validation=[large])
    done = fit(wanted)
    scores = [line["val_dice"] for line in read_history(tmp_path / "history.csv")]
    assert 2 <= len([score for score in scores if score]) < 8
    assert "A validation is passed over" in done.notes[1]


def test_a_tenth_of_the_budget_is_for_validation():
    wanted = job(None, seconds=100.0, validations=5)
    assert scoring_s(wanted.budget, wanted.settings) == pytest.approx(2.0)
    assert scoring_s(job(None, steps=3).budget, wanted.settings) == float("inf")


def test_psnr_worked_out_by_hand():
    reference = np.array([0.0, 2.0, 4.0, 10.0], dtype=np.float32)
    # A root mean squared error of 1 on a range of 10: 20 dB.
    assert psnr_of(reference, reference + [1, -1, 1, -1]) == pytest.approx(20.0)
    # Errors of 0, 0, 0 and 2: the same.
    assert psnr_of(reference, reference + np.float32([0, 0, 0, 2])) == pytest.approx(20.0)
    # A tenth of that error: 20 dB more.
    assert psnr_of(reference, reference + np.float32(0.1)) == pytest.approx(40.0, abs=1e-4)
    # As wrong as the range is wide.
    assert psnr_of(reference, reference + np.float32(10)) == pytest.approx(0.0, abs=1e-5)


@given(st.integers(0, 999), st.integers(-12, 12), st.floats(-5, 5), st.floats(0.05, 2))
def test_psnr_does_not_depend_on_the_unit_of_values(seed, power, shift, noise):
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(4, 5, 6)).astype(np.float32)
    found = (reference + rng.normal(0, noise, reference.shape)).astype(np.float32)
    expected = psnr_of(reference, found)
    factor = np.float32(2.0**power)
    assert psnr_of(factor * reference, factor * found) == pytest.approx(expected, abs=1e-9)
    moved = (v + np.float32(shift) for v in (reference, found))
    assert psnr_of(*moved) == pytest.approx(expected, abs=1e-3)


def test_a_perfect_estimate_has_the_most_decibels_and_a_flat_target_none():
    reference = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    assert psnr_of(reference, reference.copy()) == pytest.approx(MOST_DB)
    assert psnr_of(reference * np.float32(1e4), reference * np.float32(1e4)) == pytest.approx(
        MOST_DB
    )
    flat = np.ones_like(reference)
    assert np.isnan(psnr_of(flat, flat))
    assert np.isnan(psnr_of(flat, reference))
    assert np.isnan(psnr_of(reference, np.full_like(reference, np.nan)))


class Adds(nn.Module):
    """Says the same number everywhere, for each of its heads."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.tensor(numbers).view(1, -1, 1, 1, 1))

    def forward(self, x):
        return self.numbers.expand(len(x), -1, *x.shape[2:])


def estimated(seed: int, targets: list[np.ndarray] | None = None, channels: int = 1) -> Prepared:
    """A case of noise whose targets are its channels, unless they are given."""
    image = np.random.default_rng(seed).normal(size=(channels, 20, 12, 10)).astype(np.float32)
    label = image.copy() if targets is None else np.stack(targets).astype(np.float32)
    return Prepared(str(seed), image, label, {}, Grid(image.shape[1:], np.eye(4)))


SMALL = {"patch": (8, 8, 8)}


def test_the_psnr_of_a_correction_is_that_of_channel_and_answer_together():
    plan = estimating_plan(corrects=True, **SMALL)
    cases = [estimated(n) for n in range(3)]
    nothing = score_cases(looks(Adds(0.0)), cases, plan)
    assert nothing == [[pytest.approx(MOST_DB)]] * 3
    rows = score_cases(looks(Adds(0.25)), cases, plan)
    for case, (found,) in zip(cases, rows, strict=True):
        assert found == pytest.approx(20 * np.log10(np.ptp(case.label) / 0.25), abs=1e-3)


def test_each_target_has_a_psnr_and_none_where_it_is_the_same_everywhere():
    plan = estimating_plan(("CT", "PET"), (Scale(mean=0.0, sd=1.0),) * 2, **SMALL)
    ramp = np.linspace(0, 1, 2400).reshape(20, 12, 10)
    case = estimated(0, [ramp, np.full_like(ramp, 3.0)])
    ((ct, pet),) = score_cases(looks(Adds(0.5, 3.0)), [case], plan)
    expected = 20 * np.log10(1 / np.sqrt(np.mean((ramp - 0.5) ** 2)))
    assert ct == pytest.approx(expected, abs=1e-3)
    assert np.isnan(pet)
    score = mean_score([[ct, pet]], plan.heads, PSNR)
    assert (score.mean, score.measure) == (pytest.approx(ct), PSNR)
    assert np.isnan(score.each["PET"])


def test_targets_and_channels_go_together_by_their_names():
    plan = estimating_plan(
        ("PET",), corrects=True, channels=("MR", "PET"), intensities=PLAN.intensities * 2, **SMALL
    )
    both = estimated(1, channels=2)
    case = Prepared("a", both.image, both.image[1:], {}, both.grid)
    assert score_cases(looks(Adds(0.0)), [case], plan) == [[pytest.approx(MOST_DB)]]


def test_scoring_estimates_stops_when_its_time_is_up_but_not_before_one_case():
    plan = estimating_plan(corrects=True, **SMALL)
    cases = [estimated(n) for n in range(4)]
    assert len(score_cases(looks(Adds(0.0)), cases, plan)) == 4
    assert len(score_cases(looks(Adds(0.0)), cases, plan, most_s=0.0)) == 1
    assert score_cases(looks(Adds(0.0)), [], plan) == []


class Fails(nn.Module):
    """Does not fit the memory where a case is bright at its first voxel."""

    def forward(self, x):
        if x.flatten()[0] > 50:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.cat([torch.ones_like(x), torch.zeros_like(x)], dim=1)


def test_a_case_that_does_not_fit_the_memory_has_no_score_and_that_is_told():
    cases, told = [ball(n) for n in range(3)], []
    image = cases[1].image.copy()
    image[0, 0, 0, 0] = 99
    cases[1] = replace(cases[1], image=image)
    rows = score_cases(looks(Fails()), cases, PLAN, tell=told.append)
    assert [row is None for row in rows] == [False, True, False]
    assert "Case ball_1 does not fit the memory" in told[0]


def test_scoring_stops_between_cases_where_that_is_asked_for():
    asked = iter([False, True])
    cases = [ball(n) for n in range(4)]
    with pytest.raises(Stopped, match="after 2 of 4 cases"):
        score_cases(looks(Fails()), cases, PLAN, should_stop=lambda: next(asked))
