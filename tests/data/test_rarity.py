"""Rare structures are found more often, by the published rule, and common ones as before."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_sampler import case
from volunet.data.rarity import EVEN, count_repeats
from volunet.data.sampler import draw_patches

sets = st.lists(st.sets(st.integers(1, 5)), min_size=1, max_size=30)


def test_a_case_is_repeated_as_its_rarest_structure():
    # 100 cases: 1 in all, 2 in four of them, 3 in one of those four.
    cases = [{1}] * 96 + [{1, 2}] * 3 + [{1, 2, 3}]
    repeats = count_repeats(cases, rare_below=0.16)
    assert repeats.structures == pytest.approx({2: 2.0, 3: 4.0})
    assert repeats.cases == pytest.approx(np.array([1] * 96 + [2] * 3 + [4]) / 106)


@given(sets)
def test_nothing_is_rare_below_nothing(cases):
    repeats = count_repeats(cases, rare_below=0)
    assert not repeats.structures
    assert (repeats is EVEN) == (all(cases) or not any(cases))


def test_cases_that_show_nothing_are_not_drawn_for_a_structure():
    repeats = count_repeats([{1}, set(), {1, 2}, set()], rare_below=0)
    assert repeats.cases.tolist() == [0.5, 0, 0.5, 0]
    cases = [case((8, 8, 8), found) for found in ([(1, (4, 4, 4))], [])]
    told = {"foreground_share": 0.5, "rng": np.random.default_rng(0)}
    repeats = count_repeats([{1}, set()], rare_below=0)
    draws = draw_patches(cases, (3, 3, 3), 4000, **told, repeats=repeats)
    assert np.mean([d.start == (3, 3, 3) for d in draws]) > 0.5


@given(sets, st.floats(0, 1))
def test_chances_add_up_and_rarer_means_more_often(cases, rare_below):
    repeats = count_repeats(cases, rare_below=rare_below)
    assert all(times > 1 for times in repeats.structures.values())
    if repeats.cases is not None:
        assert repeats.cases.sum() == pytest.approx(1)
    has = Counter(c for each in cases for c in each)
    for one in repeats.structures:
        for other in repeats.structures:
            assert (has[one] < has[other]) == (
                repeats.structures[one] > repeats.structures[other]
            ) or has[one] == has[other]


def test_patches_find_a_rare_structure_more_often_and_the_rest_lie_as_before():
    cases = [case((8, 8, 8), [(1, (4, 4, 4))]) for _ in range(19)]
    cases.append(case((8, 8, 8), [(1, (0, 0, 0)), (2, (7, 7, 7))]))
    repeats = count_repeats([{1}] * 19 + [{1, 2}], rare_below=0.8)  # 4 times

    def share(repeats, foreground_share):
        rng = np.random.default_rng(0)
        told = {"foreground_share": foreground_share, "rng": rng, "repeats": repeats}
        draws = draw_patches(cases, (3, 3, 3), 4000, **told)
        return np.mean([d.case == 19 for d in draws]), np.mean(
            [d.case == 19 and d.start == (5, 5, 5) for d in draws]
        )

    assert share(EVEN, 1.0) == pytest.approx((1 / 20, 1 / 40), abs=0.012)
    assert share(repeats, 1.0) == pytest.approx((4 / 23, 4 / 23 * 4 / 5), abs=0.02)
    assert share(repeats, 0.0)[0] == pytest.approx(1 / 20, abs=0.012)
