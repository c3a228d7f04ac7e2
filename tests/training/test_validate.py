"""Scoring held-out cases keeps to its time, and a run keeps to its budget all the same."""

import time

import numpy as np
import pytest
import torch

from tests.training.tiny import PLAN, ball, job
from volunet.models.unet import UNet
from volunet.training.fit import fit, scoring_s
from volunet.training.validate import score_cases


def test_scoring_stops_when_its_time_is_up_but_not_before_one_case():
    network = UNet(**PLAN.network)
    cases = [ball(n) for n in range(6)]
    whole = score_cases(network, cases, PLAN, device=torch.device("cpu"), dtype=torch.float32)
    assert whole.cases == 6
    one = score_cases(
        network, cases, PLAN, device=torch.device("cpu"), dtype=torch.float32, most_s=0.0
    )
    assert one.cases == 1
    none = score_cases(network, [], PLAN, device=torch.device("cpu"), dtype=torch.float32)
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
