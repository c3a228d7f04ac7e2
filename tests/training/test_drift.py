"""A warning comes when held-out Dice falls while the loss goes on falling, and not otherwise."""

from dataclasses import replace

import pytest

from tests.training.tiny import PLAN, ball, job
from volunet.training.begin import Start
from volunet.training.drift import find_drift
from volunet.training.fit import fit
from volunet.training.history import read_history
from volunet.training.measure import DICE, MEASURES, PSNR
from volunet.training.optim import Optimisation


def drift(*validations: float, measure=DICE, **losses):
    """What is told of a run with one held-out case."""
    rows, each = history(*validations, measure=measure, **losses), len(validations)
    scored = {100 * n // each: {0: [score]} for n, score in enumerate(validations, start=1)}
    return find_drift(rows, scored, of=1, measure=measure)


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
    told = drift(0.6, 0.8, 0.75)
    assert told.startswith(
        "Held-out cases got worse: Dice went from 0.800 at step 66 to 0.750 at step 100"
    )
    assert "augmentation" in told


def test_noise_is_not_told():
    assert drift(0.6, 0.8, 0.79) is None


def test_a_rising_dice_is_not_told():
    assert drift(0.6, 0.7, 0.8) is None


def test_a_loss_that_rises_too_is_another_matter():
    assert drift(0.8, 0.6, loss_from=0.1, loss_to=1.0) is None


def test_one_validation_or_none_tells_nothing():
    assert drift(0.8) is None
    assert find_drift([], {}, of=1) is None
    assert drift(float("nan"), float("nan")) is None


def test_psnr_is_told_in_decibels_and_falls_by_more_than_noise():
    told = drift(30.0, 33.0, 32.25, measure=PSNR)
    assert "PSNR (dB) went from 33.000 at step 66 to 32.250 at step 100" in told
    assert drift(30.0, 33.0, 32.6, measure=PSNR) is None
    assert drift(30.0, 32.0, 33.0, measure=PSNR) is None


@pytest.mark.parametrize("measure", MEASURES)
def test_a_fall_counts_from_beyond_that_of_its_measure(measure):
    best, fall = 0.75, measure.fall
    within, beyond = (drift(0.5, best, best - fall * by, measure=measure) for by in (0.9, 1.1))
    assert within is None
    assert measure.said in beyond


def test_only_the_cases_that_all_validations_scored_are_compared():
    rows = history(0.6, 0.8, 0.75)
    easy, hard = [0.9], [0.5]
    assert find_drift(rows, {33: {0: easy}, 100: {0: easy, 1: hard}}, of=2) is None
    told = find_drift(
        rows, {33: {0: easy, 1: hard}, 66: {0: [0.8]}, 100: {0: [0.7], 1: easy}}, of=2
    )
    assert "Dice of the 1 of 2 that all validations came to went from 0.900 at step 33" in told
    assert find_drift(rows, {33: {0: easy}, 100: {1: hard}}, of=2) is None


DARK = [replace(case, image=-case.image) for case in map(ball, range(4))]


@pytest.mark.parametrize(("held_out", "how"), [(2, {"steps": 100}), (400, {"seconds": 4.0})])
def test_a_run_that_unlearns_its_held_out_cases_says_so_also_where_it_scores_a_part(
    tmp_path, held_out, how
):
    known = fit(job(tmp_path / "first", steps=80)).weights
    slow = Optimisation(method="adamw", learning_rate=5e-4)
    wanted = replace(
        job(tmp_path / "on", **how, validations=20, optimisation=slow),
        train=DARK,
        validation=[ball(n) for n in range(10, 10 + held_out)],
        start=Start(known, PLAN.heads),
    )
    done = fit(wanted)
    (told,) = (note for note in done.notes if note.startswith("Held-out cases got worse"))
    rows = [row for row in read_history(tmp_path / "on" / "history.csv") if row["val_dice"]]
    counted = [int(row["val_cases"]) for row in rows]
    assert all(0 < count <= held_out for count in counted)
    whole = counted == [held_out] * len(rows)
    assert whole == (held_out == 2)
    assert ("that all validations came to" in told) == (not whole)
    assert done.score.part == ("" if whole else f"{counted[-1]} of 400 cases")
