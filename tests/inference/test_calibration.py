"""Presets are chosen by what held-out cases gave, and say what they cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_path import segmenter, tilted_scan
from volunet.config import to_json
from volunet.inference.calibration import (
    TOLERANCE,
    Calibration,
    Look,
    Measured,
    merge_calibrations,
)

DEFAULT = Look(overlap=0.5)


def row(dice: float, windows: float, **look: object) -> Measured:
    return Measured(look=Look(**{"overlap": 0.5, **look}), dice=dice, windows=windows, seconds=1)


def table(*rows: Measured, cases: int = 40) -> Calibration:
    return Calibration(cases=cases, rows=rows)


def test_fast_is_the_cheapest_within_the_tolerance_of_the_best():
    few, fewest = row(0.899, 30, overlap=0.25), row(0.897, 20, overlap=0)
    found = table(row(0.9, 72), few, fewest, row(0.9008, 300, overlap=0.75))
    assert found.chosen("fast") == few
    assert found.say("fast") == (
        "fast: overlap 0.25: Dice -0.0010 on 40 held-out cases, 2.4 times fewer windows."
    )


def test_best_is_the_highest_dice_and_of_equals_the_cheapest():
    dear, cheap = row(0.91002, 576, mirror=(1, 2)), row(0.91, 144, overlap=0.75)
    found = table(row(0.9, 72), dear, cheap, cases=1)
    assert found.chosen("best") == cheap
    assert found.say("best") == (
        "best: overlap 0.75: Dice +0.0100 on 1 held-out case, 2 times as many windows."
    )
    mirrored = table(row(0.9, 72), row(0.92, 576, mirror=(1, 2)))
    assert mirrored.say("best").startswith("best: overlap 0.5, mirrored along axes 1, 2: Dice")


def test_a_preset_that_is_the_default_says_so():
    found = table(row(0.9, 72), row(0.8, 30, overlap=0.25), row(0.89, 300, overlap=0.75))
    assert found.say("fast") == (
        "fast: as by default (overlap 0.5); nothing cheaper and within 0.002 Dice was found "
        "on 40 held-out cases."
    )
    assert "nothing better was found" in found.say("best")


def test_where_one_window_holds_all_the_default_stays():
    found = table(row(0.9, 1), row(0.9, 1, overlap=0.25), row(0.9, 1, overlap=0.75))
    assert found.chosen("fast") == found.chosen("best") == found.rows[0]


rows = st.lists(
    st.builds(
        row,
        st.floats(0, 1),
        st.integers(1, 1000),
        overlap=st.sampled_from((0.25, 0.5, 0.75)),
        skip_air=st.booleans(),
    ),
    min_size=1,
)


@given(rows)
def test_nothing_measured_is_better_than_best_or_cheaper_than_fast_within_reach(rows):
    found = table(*rows)
    fast, best = found.chosen("fast"), found.chosen("best")
    assert best.dice >= max(r.dice for r in rows) - 1e-4
    assert fast.dice >= best.dice - TOLERANCE
    assert fast.windows <= best.windows
    near = [r for r in rows if r.dice >= best.dice - TOLERANCE]
    assert fast.windows == min(r.windows for r in near)
    assert Calibration.model_validate_json(to_json(found)) == found


def test_a_model_that_looks_otherwise_is_another_one_and_keeps_its_memory_settings():
    model = segmenter(patch=(16, 16, 16))
    effort = replace(model.effort, skip_air=True, crop=True, strips=2, batch=3)
    model = model.with_effort(effort)
    assert DEFAULT.on(model) is model
    harder = Look(overlap=0.75, mirror=(0,)).on(model)
    assert harder.identity != model.identity
    assert (harder.effort.strips, harder.effort.batch) == (2, 3)
    assert (harder.effort.overlap, harder.effort.mirror) == (0.75, (0,))


def test_air_is_left_out_unless_that_cost_something():
    model = segmenter()
    less = Look(overlap=0.25).on(model).effort
    assert less.crop
    assert less.skip_air
    all_of_it = Look(overlap=0.5, skip_air=False)
    assert str(all_of_it) == "overlap 0.5, air looked at too"
    assert not all_of_it.on(model.with_effort(less)).effort.crop
    assert not all_of_it.on(model.with_effort(less)).effort.skip_air


def test_a_harder_look_sees_more_windows_and_finds_the_same_ball():
    scan, _ = tilted_scan("RAS")
    model = segmenter(patch=(16, 16, 16))
    found = model(scan)
    harder = Look(overlap=0.75, mirror=(1,)).on(model)(scan)
    assert harder.how["windows"] > 2 * found.how["windows"]
    np.testing.assert_array_equal(harder.labels.voxels, found.labels.voxels)


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_out_of_range_is_no_look(overlap):
    with pytest.raises(ValueError, match="overlap"):
        Look(overlap=overlap)


def test_folds_are_put_together_by_their_cases_and_the_settings_that_all_measured():
    mirrored = {"mirror": (1,)}
    first = table(row(0.9, 10), row(0.8, 5, overlap=0.25), row(0.91, 40, **mirrored), cases=3)
    second = table(row(0.7, 20), row(0.6, 10, overlap=0.25), cases=1)
    both = merge_calibrations([first, second], networks=2)
    assert both.cases == 4
    assert [r.look for r in both.rows] == [Look(overlap=0.5), Look(overlap=0.25)]
    assert both.rows[0].dice == pytest.approx((3 * 0.9 + 0.7) / 4)
    assert both.rows[0].windows == pytest.approx(2 * (3 * 10 + 20) / 4)
    assert both.rows[1].seconds == 2
    assert both.left_out == (Look(overlap=0.5, **mirrored),)
    assert merge_calibrations([], networks=2) is None
