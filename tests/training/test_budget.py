"""A budget is read as people write it, and the clock follows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volunet.errors import ConfigError
from volunet.training.average import Average
from volunet.training.budget import Budget, Clock, read_budget
from volunet.training.optim import Optimisation, rate_at


@pytest.mark.parametrize(
    ("text", "seconds", "steps"),
    [
        ("20m", 1200, None),
        ("90s", 90, None),
        ("1h30m", 5400, None),
        ("0.5h", 1800, None),
        ("1h2m3s", 3723, None),
        ("5000steps", None, 5000),
        ("1 step", None, 1),
    ],
)
def test_a_budget_is_read(text, seconds, steps):
    assert read_budget(text) == Budget(seconds=seconds, steps=steps)


@pytest.mark.parametrize("text", ["", "20", "m", "20x", "-5m", "0s", "0steps", "5 epochs"])
def test_what_is_no_budget_is_refused_with_advice(text):
    with pytest.raises(ConfigError, match="budget"):
        read_budget(text)


def test_the_clock_counts_earlier_sittings_and_keeps_time_for_the_end():
    moments = iter([100.0, 103.0, 103.0, 103.0])
    clock = Clock(Budget(seconds=20), spent_s=5.0, now=lambda: next(moments))
    assert clock.spent_s == 8.0
    assert clock.progress == pytest.approx(8 / 20)
    clock.reserve(4.0)
    assert clock.progress == pytest.approx(8 / 16)


def test_a_clock_can_begin_anew_and_keeps_earlier_sittings():
    moments = iter([0.0, 7.0, 9.0])
    clock = Clock(Budget(seconds=20), spent_s=5.0, now=lambda: next(moments))
    clock.begin()
    assert clock.spent_s == 7.0


def test_a_clock_of_steps_does_not_look_at_the_time():
    clock = Clock(Budget(steps=4), step=1)
    clock.reserve(100.0)
    clock.tick()
    assert clock.progress == 0.5


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_rate_rises_then_falls_to_nothing(one, other):
    settings = Optimisation(warm_up=0.1)
    early, late = sorted((one, other))
    if early >= 0.1:
        assert rate_at(early, settings) >= rate_at(late, settings)
    assert 0 <= rate_at(one, settings) <= settings.highest_rate
    assert rate_at(1.0, settings) == pytest.approx(0, abs=1e-12)


def test_the_average_reaches_back_over_a_share_of_the_steps():
    import torch

    network = torch.nn.Linear(1, 1, bias=False)
    average = Average(network, power=9.0)
    for step in range(1, 1001):
        with torch.no_grad():
            network.weight.fill_(float(step))
        average.update(step)
    # The mean of t under weights t^8 up to 1000 is 900 (Karras et al., eq. 4).
    assert float(average.weights["weight"]) == pytest.approx(900, rel=0.01)
    with average.in_place() as averaged:
        assert averaged.weight.item() == pytest.approx(900, rel=0.01)
        assert not averaged.training
    assert network.weight.item() == 1000
    assert network.training


def test_a_rate_without_decay_stays_after_its_rise():
    staying = Optimisation(decay="none", warm_up=0.1)
    assert rate_at(0.05, staying) == pytest.approx(0.5 * staying.highest_rate, rel=0.01)
    assert {rate_at(progress, staying) for progress in (0.1, 0.5, 1.0)} == {staying.highest_rate}
