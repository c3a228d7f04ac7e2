"""Means, medians, counts and intervals over cases, worked by hand and against scipy."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from volunet.errors import ConfigError
from volunet.evaluation.interval import mean_interval, paired_difference
from volunet.evaluation.score import Score
from volunet.evaluation.summary import case_means, summarise, to_csv, to_json
from volunet.space.labels import Labels

NAN = float("nan")
ORGANS = Labels(structures={"liver": 1, "tumour": 2}, regions={"all": (1, 2)})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def score(case: str, label: str, dice: float, **rest) -> Score:
    return Score(case_id=case, label=label, dice=dice, nsd_tolerance_mm=1.0, **rest)


def empty(case: str, label: str) -> Score:
    return score(case, label, NAN, volume_ref_ml=0.0, volume_pred_ml=0.0)


SCORES = [
    score("a", "liver", 0.9),
    empty("a", "tumour"),
    score("a", "all", 0.9),
    score("b", "liver", 0.8),
    score("b", "tumour", 0.5),
    score("b", "all", 0.7),
    score("c", "liver", 0.0, status="missing"),
    score("c", "tumour", 0.0, status="missing"),
    score("c", "all", 0.0, status="missing"),
    score("d", "liver", NAN, status="refused"),
    score("d", "tumour", NAN, status="refused"),
    score("d", "all", NAN, status="refused"),
]


def test_a_summary_worked_by_hand():
    summary = summarise(SCORES, ORGANS)
    liver, tumour = summary["labels"]["liver"], summary["labels"]["tumour"]
    assert (liver["n_both_empty"], liver["n_missing"], liver["n_refused"]) == (0, 1, 1)
    assert liver["dice"]["n"] == 3
    assert liver["dice"]["mean"] == pytest.approx(1.7 / 3)
    assert liver["dice"]["median"] == 0.8
    assert (tumour["n_both_empty"], tumour["dice"]["n"]) == (1, 2)
    assert tumour["dice"]["mean"] == 0.25
    over = summary["mean_over_labels"]["dice"]
    assert over["n"] == 3
    assert over["mean"] == pytest.approx((1.7 / 3 + 0.25) / 2)
    assert over["median"] == pytest.approx((0.8 + 0.25) / 2)
    assert summary["regions"]["all"]["dice"]["mean"] == pytest.approx(1.6 / 3)
    assert summary["labels"]["liver"]["nsd"] == {
        "n": 0,
        "mean": None,
        "interval": [None, None],
        "median": None,
    }


def test_the_mean_is_over_regions_where_these_are_what_is_learnt():
    labels = Labels(structures={"rim": 1, "core": 2}, regions={"whole": (1, 2), "core": (2,)})
    dice = {"rim": 0.2, "core": 0.6, "whole": 0.8}
    summary = summarise([score("a", name, value) for name, value in dice.items()], labels)
    assert summary["averaged"] == ["whole", "core"]
    assert summary["mean_over_labels"]["dice"]["mean"] == pytest.approx(0.7)
    assert summarise(SCORES, ORGANS)["averaged"] == ["liver", "tumour"]


def test_the_summary_is_plain_json_and_repeatable():
    text = to_json(summarise(SCORES, ORGANS, seed=3))
    assert json.loads(text)["seed"] == 3
    assert text == to_json(summarise(SCORES, ORGANS, seed=3))


def test_the_table_leaves_cells_empty_where_there_is_no_score():
    lines = list(csv.DictReader(to_csv(SCORES).splitlines()))
    assert list(lines[0])[:5] == ["case_id", "label", "dice", "iou", "hd95_mm"]
    assert [line["dice"] for line in lines[:2]] == ["0.9", ""]
    assert lines[-1]["status"] == "refused"


def test_means_of_cases_leave_out_what_has_no_score():
    means = case_means(s for s in SCORES if s.label != "all")
    assert means["a"] == 0.9
    assert means["b"] == pytest.approx(0.65)
    assert np.isnan(means["d"])


def test_the_interval_of_a_mean_over_labels_is_of_all_of_them_though_one_is_rare():
    """0.9 in 20 cases and 0.2 in two of them: no resample has a mean of 0.9 alone."""
    values = np.full((20, 2), 0.9)
    values[:, 1] = np.nan
    values[3:5, 1] = 0.2
    found = mean_interval(values, rng())
    assert (found.mean, found.low, found.high) == pytest.approx((0.55, 0.55, 0.55))
    values[3, 1] = 0.4
    found = mean_interval(values, rng())
    assert (found.mean, found.low, found.high) == pytest.approx((0.6, 0.55, 0.65))


def test_the_interval_is_that_of_scipy():
    values = rng(1).beta(8, 2, size=40)
    ours = mean_interval(values, rng())
    theirs = bootstrap((values,), np.mean, method="percentile", rng=rng()).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    np.testing.assert_allclose((ours.low, ours.high), theirs, atol=0.1 * values.std() / 40**0.5)


def test_labels_of_a_case_are_drawn_together():
    # Two labels that make up for each other in every case have a mean without any spread.
    first = rng().random(30)
    found = mean_interval(np.stack([first, 1 - first], axis=1), rng())
    assert found.low == pytest.approx(0.5)
    assert found.high == pytest.approx(0.5)


@given(st.lists(st.floats(0, 1) | st.just(NAN), min_size=1, max_size=12))
def test_the_interval_holds_the_mean_and_lies_within_the_values(values):
    found = mean_interval(values, rng())
    known = [v for v in values if not np.isnan(v)]
    assert found.n == len(known)
    if len(known) > 1:
        assert min(known) - 1e-9 <= found.low <= found.mean + 1e-9
        assert found.mean - 1e-9 <= found.high <= max(known) + 1e-9


def test_one_case_has_no_interval():
    found = mean_interval([0.7], rng())
    assert (found.n, found.mean, found.median) == (1, 0.7, 0.7)
    assert np.isnan([found.low, found.high]).all()


def test_no_case_has_no_mean():
    assert np.isnan(mean_interval([NAN, NAN], rng()).mean)
    assert mean_interval([], rng()).n == 0


def test_a_paired_difference_is_sharper_than_two_means():
    ours = {f"case_{n}": v for n, v in enumerate(rng().random(50))}
    theirs = {case: v - 0.01 for case, v in ours.items()}
    found = paired_difference(ours, dict(reversed(theirs.items())), rng())
    assert (found.mean, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))


def test_cases_that_differ_are_not_compared():
    with pytest.raises(ConfigError, match="b, c"):
        paired_difference({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0}, rng())
