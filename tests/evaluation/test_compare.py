"""Two evaluations are compared pair by pair, and only where both tell of the same."""

import csv
import json
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.command import volunet
from volunet.errors import ConfigError
from volunet.evaluation.compare import Metrics, compare_metrics, read_metrics, to_csv
from volunet.evaluation.interval import paired_difference
from volunet.evaluation.summary import COLUMNS, MEASURES

scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8)


def table(dice, label="liver", **more):
    """Scores of cases "0", "1", …"""
    other = dict.fromkeys(MEASURES, 0.5) | more
    return Metrics({(str(n), label): {**other, "dice": value} for n, value in enumerate(dice)})


def united(*parts, apart=()):
    """Metrics of several structures."""
    rows = {key: values for part in parts for key, values in part.rows.items()}
    return Metrics(rows, frozenset(apart))


def of(found, label, measure):
    return next(d for d in found if (d.label, d.measure) == (label, measure))


@given(scores)
def test_a_difference_is_the_paired_one(pairs):
    a, b = zip(*pairs, strict=True)
    found = of(compare_metrics(table(a), table(b)), "liver", "dice")
    sides = [{str(n): v for n, v in enumerate(side)} for side in (a, b)]
    assert found.gain == paired_difference(*sides, np.random.default_rng(0))
    assert found.wins == sum(x > y for x, y in pairs)
    assert found.losses == sum(x < y for x, y in pairs)
    assert found.first == pytest.approx(np.mean(a))


def test_a_shorter_distance_is_better():
    found = compare_metrics(table([0.5, 0.5], hd95_mm=2.0), table([0.5, 0.5], hd95_mm=5.0))
    distance = of(found, "liver", "hd95_mm")
    assert (distance.gain.mean, distance.wins, distance.losses) == (3.0, 2, 0)


def test_what_one_side_could_not_score_enters_neither_mean():
    found = of(compare_metrics(table([0.9, nan, 0.7]), table([0.8, 0.1, nan])), "liver", "dice")
    assert (found.gain.n, found.first, found.second) == (1, 0.9, 0.8)
    nothing = of(compare_metrics(table([nan]), table([0.5])), "liver", "dice")
    assert nothing.gain.n == 0
    assert isnan(nothing.first)


def test_the_mean_over_structures_is_that_of_each_case():
    first = united(table([0.9, 0.7]), table([0.5, 0.3], "spleen"))
    second = united(table([0.8, 0.6]), table([0.5, nan], "spleen"))
    found = of(compare_metrics(first, second), "mean", "dice")
    # Case 0: 0.7 and 0.65; case 1, where the spleen is scored on one side only: 0.7 and 0.6.
    assert found.gain.mean == pytest.approx((0.05 + 0.1) / 2)


def test_a_structure_that_one_side_invents_is_counted():
    found = of(compare_metrics(table([0.8, nan, nan]), table([0.81, 0.0, nan])), "liver", "dice")
    assert (found.gain.n, found.first_only, found.second_only) == (1, 0, 1)


def test_cases_that_one_side_alone_has_a_mean_of_are_counted():
    first = united(table([0.8, nan, 0.7]), table([0.5, nan, 0.5], "spleen"))
    second = united(table([0.8, 0.0, nan]), table([0.5, nan, nan], "spleen"))
    found = of(compare_metrics(first, second), "mean", "dice")
    assert (found.gain.n, found.first_only, found.second_only) == (1, 1, 1)


def test_regions_enter_no_mean_over_structures():
    parts = (table([0.5]), table([0.7], "spleen"), table([0.9], "both"))
    whole = united(*parts, apart=["both"])
    found = compare_metrics(whole, whole)
    assert of(found, "mean", "dice").first == pytest.approx(0.6)
    assert of(found, "both", "dice").first == 0.9


def test_means_over_other_rows_are_not_compared():
    parts = (table([0.5]), table([0.7], "spleen"), table([0.9], "both"))
    whole, other = united(*parts, apart=["both"]), united(*parts, apart=["liver", "spleen"])
    with pytest.raises(ConfigError, match="Evaluate both again"):
        compare_metrics(whole, other)


def test_surface_dice_at_other_tolerances_is_not_compared():
    one, other = (Metrics(table([0.5]).rows, tolerance_mm=mm) for mm in (1.0, 2.0))
    with pytest.raises(ConfigError, match="1 mm on one side and 2 mm"):
        compare_metrics(one, other)


def test_other_cases_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"differ in 1 cases: 2\. Evaluate the same"):
        compare_metrics(table([0.1, 0.2]), table([0.1, 0.2, 0.3]))


@pytest.mark.parametrize(
    ("told", "apart"),
    [
        ({"averaged": ["liver"], "regions": {}}, set()),
        ({"averaged": ["whole"], "regions": {"whole": {}}}, {"liver"}),
        ({"regions": {"liver": {}}}, {"liver"}),  # of before it said what it averaged
    ],
)
def test_a_summary_says_what_enters_no_mean(tmp_path, told, apart):
    folder = write(tmp_path / "own", [0.7])
    (folder / "summary.json").write_text(json.dumps(told))
    assert read_metrics(folder).apart == apart


def write(folder, dice):
    folder.mkdir(parents=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, restval="")
        rows.writeheader()
        for (case, label), values in table(dice).rows.items():
            told = {m: "" if isnan(v) else v for m, v in values.items()}
            rows.writerow({"case_id": case, "label": label, **told})
    return folder


def test_the_command_writes_what_it_says(tmp_path):
    first = write(tmp_path / "run" / "validation", [0.9, 0.8, nan]).parent
    second = write(tmp_path / "other", [0.7, 0.7, 0.7])
    done = volunet("compare", first, second, "-o", tmp_path / "out", "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {(r["label"], r["measure"]): r for r in map(json.loads, done.stdout.splitlines())}
    assert rows["liver", "dice"]["gain"] == pytest.approx(0.15)
    with (tmp_path / "out" / "comparison.csv").open() as file:
        kept = next(r for r in csv.DictReader(file) if r["measure"] == "dice")
    assert (float(kept["gain"]), kept["n"], kept["wins"]) == (pytest.approx(0.15), "2", "2")


def test_a_table_that_went_through_a_spreadsheet_is_read_or_told(tmp_path):
    table = write(tmp_path / "own", [0.7, 0.7, 0.7]) / "metrics.csv"
    read = read_metrics(table)
    table.write_text(table.read_text(), encoding="utf-8-sig")
    assert read_metrics(table).rows == read.rows
    table.write_text("case_id,label\nFran\xe7ois,liver\n", encoding="cp1252")
    with pytest.raises(ConfigError, match="holds no scores"):
        read_metrics(table)
    table.write_bytes(b"case_id,label\n\x00\x1f\x8b,liver\n")
    with pytest.raises(ConfigError, match="holds no scores"):
        read_metrics(table)


def test_a_folder_without_scores_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"no metrics\.csv"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="holds no scores"):
        read_metrics(tmp_path)
    assert to_csv([]).startswith("label,measure")
