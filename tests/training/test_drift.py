"""A warning comes when held-out Dice falls while the loss goes on falling, and not otherwise."""

import pytest

from volunet.training.drift import find_drift
from volunet.training.measure import DICE, MEASURES, PSNR


def history(*validations: float, loss_from: float = 1.0, loss_to: float = 0.1, measure=DICE):
    """A hundred steps of an even loss, with validations spread over them."""
    steps = 100
    rows = []
    for step in range(1, steps + 1):
        loss = loss_from + (loss_to - loss_from) * step / steps
        rows.append({"step": str(step), "loss": f"{loss:.6g}", measure.column: ""})
    for place, score in enumerate(validations, start=1):
        at = steps * place // len(validations)
        rows.insert(at + place - 1, {"step": str(at), "loss": "", measure.column: f"{score:.6g}"})
    return rows


def test_a_fall_beside_a_falling_loss_is_told_with_figures_and_advice():
    told = find_drift(history(0.6, 0.8, 0.75))
    assert told.startswith(
        "Held-out cases got worse: Dice went from 0.800 at step 66 to 0.750 at step 100"
    )
    assert "augmentation" in told


def test_noise_is_not_told():
    assert find_drift(history(0.6, 0.8, 0.79)) is None


def test_a_rising_dice_is_not_told():
    assert find_drift(history(0.6, 0.7, 0.8)) is None


def test_a_loss_that_rises_too_is_another_matter():
    assert find_drift(history(0.8, 0.6, loss_from=0.1, loss_to=1.0)) is None


def test_one_validation_or_none_tells_nothing():
    assert find_drift(history(0.8)) is None
    assert find_drift([]) is None
    assert find_drift(history(float("nan"), float("nan"))) is None


def test_psnr_is_told_in_decibels_and_falls_by_more_than_noise():
    told = find_drift(history(30.0, 33.0, 32.25, measure=PSNR), PSNR)
    assert "PSNR (dB) went from 33.000 at step 66 to 32.250 at step 100" in told
    assert find_drift(history(30.0, 33.0, 32.6, measure=PSNR), PSNR) is None
    assert find_drift(history(30.0, 32.0, 33.0, measure=PSNR), PSNR) is None


@pytest.mark.parametrize("measure", MEASURES)
def test_a_fall_counts_from_beyond_that_of_its_measure(measure):
    best, fall = 0.75, measure.fall
    within, beyond = (history(0.5, best, best - fall * by, measure=measure) for by in (0.9, 1.1))
    assert find_drift(within, measure) is None
    assert measure.said in find_drift(beyond, measure)


def test_a_score_of_some_cases_is_no_best_one():
    rows = history(0.6, 0.8, 0.75)
    steps = [int(row["step"]) for row in rows if row["val_dice"]]
    assert find_drift(rows, whole=steps)
    assert find_drift(rows, whole=[steps[0], steps[2]]) is None
