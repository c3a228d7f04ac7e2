"""Tidying is chosen where held-out cases gain by it, and declined everywhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from volunet.config import to_json
from volunet.data.cases import Case
from volunet.evaluation.overlap import overlaps
from volunet.inference.postprocess import Gain, Steps, Tidy, tidy_labels
from volunet.planning.fingerprint import CaseFacts, Fingerprint
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume
from volunet.training.tidying import (
    Choice,
    Trial,
    candidates_for,
    choose_tidy,
    try_candidates,
)

LABELS = Labels(structures={"liver": 1, "tumour": 4})
IGNORING = Labels(structures=LABELS.structures, ignore=9)
LARGEST, HOLES = Steps(largest=True), Steps(holes=True)
CASE = Case(case_id="a", images=(), group="patient")
STEPS = {name: [HOLES, LARGEST, Steps(dust_ml=2)] for name in LABELS.names}


def volume(drawn: object) -> Volume:
    voxels = np.array(drawn, dtype=np.uint8)
    return Volume(voxels[None], Grid(voxels.shape, np.eye(4) * (10, 10, 10, 1)))


def trial(drawn: object, truth: object, labels: Labels = LABELS) -> Trial:
    return try_candidates(volume(truth), volume(drawn), labels, STEPS, case=CASE)


def trials(*gains: float, before: float = 0.8, groups: str = "abcdefghijklmn") -> list[Trial]:
    """Cases whose liver gains this much by its largest part, and loses by all else."""
    return [
        Trial(f"case{n}", groups[n], {"liver": before + np.array((0, -0.1, gain, -0.1))})
        for n, gain in enumerate(gains)
    ]


def chosen(*gains: float, **more: str) -> Steps:
    return choose_tidy(trials(*gains, **more), STEPS).structures["liver"].chosen


def test_a_trial_tells_the_dice_as_found_and_after_each_candidate():
    found = trial([[[1, 1, 0, 1]]], [[[1, 1, 0, 0]]])
    np.testing.assert_allclose(found.dice["liver"], [0.8, 0.8, 1, 1])
    assert list(found.dice) == ["liver"]
    assert (found.case_id, found.group) == ("a", "patient")


def test_a_structure_that_was_not_found_cannot_gain():
    assert trial([[[0, 0]]], [[[4, 0]]]).dice["tumour"].tolist() == [0, 0, 0, 0]


def test_to_remove_what_should_not_be_there_is_worth_a_dice_of_one():
    assert trial([[[4, 0]]], [[[0, 0]]]).dice["tumour"].tolist() == [0, 0, 0, 1]


class _Maps:
    shapes = hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)
    maps = shapes.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.uint8, shape, elements=st.sampled_from((0, 1, 4))),
            hnp.arrays(np.uint8, shape, elements=st.sampled_from((0, 1, 4, 9))),
        )
    )


@given(_Maps.maps)
def test_a_trial_tells_what_tidying_the_structure_and_scoring_it_gives(maps):
    drawn, truth = maps
    dice = trial(drawn, truth, IGNORING).dice
    for name, value in LABELS.structures.items():
        for number, steps in enumerate((Steps(), *STEPS[name])):
            index = IGNORING.to_index(drawn)
            tidy_labels(index, Tidy(structures={name: steps}), IGNORING, voxel_ml=1.0)
            scored = overlaps(truth, IGNORING.to_values(index), (1, 4), ignore=9)[value].dice
            told = dice[name][number] if name in dice else np.nan
            assert told == pytest.approx(
                1.0 if np.isnan(scored) and name in dice else scored, nan_ok=True
            )


def test_what_all_cases_gain_by_is_chosen():
    assert chosen(0.01, 0.02, 0.01, 0.03, 0.01) == LARGEST


def test_no_gain_beyond_the_margin_is_declined():
    assert chosen(0.001, 0.002, 0.001, 0.001, 0.002) == Steps()


def test_what_one_case_alone_speaks_for_is_declined_and_two_are_heard():
    assert chosen(0.5, 0, 0, 0, 0, 0, 0, 0) == Steps()
    assert chosen(0.5, 0.5, 0, 0, 0, 0, 0, 0) == LARGEST


def test_two_cases_of_one_group_speak_as_one():
    assert chosen(0.5, 0.5, 0, 0, 0, 0, groups="aabcde") == Steps()


def test_what_harms_more_than_one_case_in_ten_is_declined():
    ten = [0.05] * 8
    assert chosen(*ten, 0, -0.01, groups="abcdefghij") == LARGEST
    assert chosen(*ten, -0.01, -0.01, groups="abcdefghij") == Steps()


def test_four_cases_are_too_few():
    assert chosen(0.1, 0.1, 0.1, 0.1) == Steps()
    assert chosen(0.1, 0.1, 0.1, 0.1, 0.1) == LARGEST


def test_of_equal_candidates_the_simplest_is_chosen():
    table = 0.8 + np.array((0, 0.01, 0.01, 0.01))
    alike = [Trial(str(n), str(n), {"liver": table}) for n in range(6)]
    assert choose_tidy(alike, STEPS).structures["liver"].chosen == HOLES


def test_each_structure_is_chosen_for_on_its_own():
    both = [
        replace(t, dice={**t.dice, "tumour": 0.5 + np.array((0, 0, 0, 0.1))})
        for t in trials(0, 0, 0, 0, 0, 0)
    ]
    assert choose_tidy(both, STEPS).tidy.structures == {"tumour": Steps(dust_ml=2)}


def test_a_structure_in_no_case_and_no_cases_at_all_are_left_alone():
    assert not choose_tidy([], STEPS).tidy
    assert choose_tidy(trials(0.1, 0.1), STEPS).structures["tumour"].cases == 0


def test_the_choice_keeps_what_was_tried_and_what_it_gave():
    choice = choose_tidy(trials(0.01, 0.02, 0.01, 0.03, 0.01, 0.01), STEPS)
    verdict = choice.structures["liver"]
    assert verdict.cases == 6
    assert [t.steps for t in verdict.tried] == STEPS["liver"]
    assert [round(t.dice, 3) for t in verdict.tried] == [0.7, 0.815, 0.7]
    assert [t.harmed for t in verdict.tried] == [1, 0, 1]
    assert verdict.unseen == pytest.approx(0.015)
    gain = choice.tidy.gains["liver"]
    assert (gain.cases, round(gain.before, 3), round(gain.after, 3)) == (6, 0.8, 0.815)
    assert Choice.model_validate_json(to_json(choice)) == choice
    assert isinstance(gain, Gain)


def test_the_choice_says_in_a_sentence_what_is_done_from_now_on():
    assert str(choose_tidy(trials(0.01, 0.02, 0.01, 0.03, 0.01, 0.01), STEPS)) == (
        "Tidied from now on: liver: largest part (Dice 0.8000 to 0.8150 on 6 held-out cases)."
    )
    assert "takes 5 held-out cases" in str(choose_tidy(trials(0.1, 0.1, 0.1), STEPS))
    assert "up to 6 held-out cases" in str(choose_tidy(trials(0, 0, 0, 0, 0, 0), STEPS))


def test_dust_is_a_share_of_the_usual_volume_in_training():
    cases = {
        str(n): CaseFacts(shape=(9, 9, 9), spacing=(1, 1, 1), channels=(), volumes_ml=volumes)
        for n, volumes in enumerate(({"liver": 1000.0}, {"liver": 1600.0}, {"liver": 1400.0}))
    }
    found = candidates_for(LABELS, Fingerprint(cases=cases))
    assert [s.dust_ml for s in found["liver"] if s.dust_ml and not s.holes] == [1.4, 14, 140]
    assert found["tumour"] == [HOLES, LARGEST, Steps(largest=True, holes=True)]
