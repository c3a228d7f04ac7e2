"""Scoring held-out cases keeps to its time, and a run keeps to its budget all the same."""

import time

import numpy as np
import pytest
import torch

from tests.training.tiny import PLAN, ball, job
from volunet.training.fit import fit, scoring_s
from volunet.training.validate import dice_of_cases, mean_score


def test_scoring_stops_when_its_time_is_up_but_not_before_one_case():
    network = PLAN.build_network()
    cases = [ball(n) for n in range(6)]
    how = {"device": torch.device("cpu"), "dtype": torch.float32}
    assert len(dice_of_cases(network, cases, PLAN, **how)) == 6
    assert len(dice_of_cases(network, cases, PLAN, **how, most_s=0.0)) == 1
    assert dice_of_cases(network, [], PLAN, **how) == []


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


def test_a_tenth_of_the_budget_is_for_validation():
    wanted = job(None, seconds=100.0, validations=5)
    assert scoring_s(wanted.budget, wanted.settings) == pytest.approx(2.0)
    assert scoring_s(job(None, steps=3).budget, wanted.settings) == float("inf")
