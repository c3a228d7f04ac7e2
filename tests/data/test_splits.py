import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from volunet.data.cases import Case
from volunet.data.layouts import find_dataset
from volunet.data.splits import (
    Split,
    find_leaks,
    find_unused,
    fold_splits,
    read_splits,
    split_cases,
)
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Refused

SHARED = Path(__file__).parents[3] / "shared" / "data"

grouped = st.lists(st.integers(0, 12), min_size=2, max_size=40).map(
    lambda groups: [
        Case(case_id=f"case {n}", images=(), group=f"patient {g}") for n, g in enumerate(groups)
    ]
)
seeds = st.integers(0, 1000)


def plain(count):
    return [Case(case_id=f"case {n}", images=()) for n in range(count)]


def groups_of(cases, ids):
    return {case.group for case in cases if case.case_id in ids}


@given(cases=grouped, seed=seeds)
def test_a_split_puts_every_case_on_one_side_and_parts_no_group(cases, seed):
    assume(len({c.group for c in cases}) > 1)
    split = split_cases(cases, seed=seed)
    assert sorted([*split.train, *split.validation]) == sorted(c.case_id for c in cases)
    assert not groups_of(cases, split.train) & groups_of(cases, split.validation)
    assert split.train
    assert split.validation


@given(cases=grouped, seed=seeds, folds=st.integers(2, 6))
def test_folds_hold_every_case_out_once_and_part_no_group(cases, seed, folds):
    assume(len({c.group for c in cases}) >= folds)
    splits = [split_cases(cases, fold=k, folds=folds, seed=seed) for k in range(folds)]
    held_out = [case_id for split in splits for case_id in split.validation]
    assert sorted(held_out) == sorted(c.case_id for c in cases)
    for split in splits:
        assert not groups_of(cases, split.train) & groups_of(cases, split.validation)
    sizes = [len(groups_of(cases, split.validation)) for split in splits]
    assert max(sizes) - min(sizes) <= 1


@given(cases=grouped, seed=seeds)
def test_the_same_seed_gives_the_same_split_in_any_order(cases, seed):
    assume(len({c.group for c in cases}) > 1)
    assert split_cases(cases, seed=seed) == split_cases(cases[::-1], seed=seed)


@given(count=st.integers(10, 60), seed=seeds, fold=st.integers(0, 4))
def test_a_case_that_is_added_moves_few(count, seed, fold):
    before = set(split_cases(plain(count), fold=fold, seed=seed).validation)
    after = set(split_cases(plain(count + 1), fold=fold, seed=seed).validation)
    assert len(before ^ after) <= 3


def test_seeds_give_different_splits():
    assert len({split_cases(plain(30), seed=seed).validation for seed in range(5)}) == 5


def test_one_split_holds_a_fifth_out():
    assert len(split_cases(plain(100)).validation) == 20
    assert len(split_cases(plain(2)).validation) == 1
    assert split_cases(plain(100)) == split_cases(plain(100), fold=0)


def test_too_few_groups_are_told():
    with pytest.raises(DatasetError, match="at least two groups"):
        split_cases([Case(case_id=c, images=(), group="p") for c in "ab"])
    with pytest.raises(DatasetError, match="or fewer folds"):
        split_cases(plain(4), fold=0)
    with pytest.raises(ConfigError, match="no fold 5 of 5"):
        split_cases(plain(10), fold=5)


def columns(split=("",) * 4, fold=(None,) * 4, group=("",) * 4):
    return [
        Case(case_id=f"c{n}", images=(), split=split[n], fold=fold[n], group=group[n])
        for n in range(4)
    ]


def test_the_cases_own_split_wins():
    cases = columns(split=("train", "validation", "train", "train"))
    assert split_cases(cases) == Split(train=("c0", "c2", "c3"), validation=("c1",))
    with pytest.raises(DatasetError, match="which is no fold"):
        split_cases(cases, fold=0)


def test_the_cases_own_folds_win():
    cases = columns(fold=(0, 1, 1, 2))
    assert split_cases(cases, fold=1).validation == ("c1", "c2")
    assert split_cases(cases).validation == ("c0",)
    with pytest.raises(ConfigError, match=r"have the folds \[0, 1, 2\]"):
        split_cases(cases, fold=3)
    assert split_cases(columns(fold=(1, 5, 7, 7)), fold=7).validation == ("c2", "c3")


def test_a_column_that_is_half_filled_is_told():
    with pytest.raises(DatasetError, match=r"1 cases have no split while others have: \['c3'\]"):
        split_cases(columns(split=("train", "validation", "train", "")))
    with pytest.raises(DatasetError, match="no fold"):
        split_cases(columns(fold=(0, None, 1, 1)), fold=0)
    with pytest.raises(DatasetError, match="no case for validation"):
        split_cases(columns(split=("train",) * 4))


def test_a_group_on_both_sides_is_a_leak():
    cases = columns(split=("train", "validation", "train", "train"), group=("p", "p", "q", "r"))
    with pytest.raises(Refused, match="The group 'p' is in training") as e:
        split_cases(cases)
    assert [(f.code, f.case) for f in e.value.findings] == [("SET-LEAK", "c1")]


def test_an_image_on_both_sides_is_a_leak():
    split = Split(train=("c0", "c2"), validation=("c1", "c3"))
    contents = {"c0": "x", "c1": "x", "c2": "y"}
    (leak,) = find_leaks(split, columns(), contents)
    assert leak.message == "The same image is in training ('c0') and in validation ('c1')."
    assert find_leaks(split, columns()) == []


def splits_file(tmp_path, value):
    path = tmp_path / "splits_final.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_nnunets_splits_are_read(tmp_path):
    path = splits_file(
        tmp_path,
        [{"train": ["c0"], "val": ["c1"]}, {"train": ["c3", "c1"], "val": ["c0", "c2"]}],
    )
    split = read_splits(path, columns(), 1)
    assert split == Split(train=("c1", "c3"), validation=("c0", "c2"))


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        ("[", ConfigError, "must be a list"),
        ([{"train": "c0"}], ConfigError, "must be a list"),
        ([], ConfigError, "no 0"),
        ([{"train": ["c0"]}], ConfigError, "needs 'train' and 'val'"),
        ([{"train": ["c0"], "val": ["c9", "c1"]}], DatasetError, "'c9'.*Nearest: 'c0'"),
        ([{"train": ["c0"], "val": []}], DatasetError, "no case for validation"),
        ([{"train": ["c0", "c1"], "val": ["c1"]}], Refused, "The case 'c1' is in training"),
    ],
)
def test_splits_that_make_no_sense_are_told(tmp_path, value, error, said):
    with pytest.raises(error, match=said):
        read_splits(splits_file(tmp_path, value), columns())


def test_a_splits_file_that_is_missing_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_splits(tmp_path / "none.json", columns())


@pytest.mark.skipif(not SHARED.exists(), reason="needs the scans beside the project")
def test_nnunets_first_fold_of_the_hippocampus_has_162_and_38_cases():
    cases = find_dataset(SHARED / "hippocampus").cases
    split = read_splits(SHARED / "nnunet_reference" / "splits_final.json", cases, 0)
    assert (len(split.train), len(split.validation)) == (162, 38)


def in_folds(*folds: int | None) -> list[Case]:
    return [Case(case_id=f"c{n}", images=(), fold=fold) for n, fold in enumerate(folds)]


def test_all_folds_hold_each_case_out_once():
    cases = in_folds(*[None] * 11)
    splits = fold_splits(cases, 4, seed=3)
    held_out = [case_id for split in splits for case_id in split.validation]
    assert sorted(held_out) == sorted(case.case_id for case in cases)
    assert splits[2] == split_cases(cases, fold=2, folds=4, seed=3)


def test_folds_of_the_cases_or_of_a_file_must_be_as_many_as_were_asked_for(tmp_path):
    own = in_folds(1, 1, 7, 7)
    assert [s.validation for s in fold_splits(own, 2)] == [("c0", "c1"), ("c2", "c3")]
    with pytest.raises(ConfigError, match="the dataset has 2 folds, and 5 were asked for"):
        fold_splits(own, 5)
    path = tmp_path / "splits_final.json"
    sides = [{"train": ["c0", "c1"], "val": ["c2"]}, {"train": ["c2"], "val": ["c0", "c1"]}]
    path.write_text(json.dumps(sides))
    cases = in_folds(None, None, None)
    assert [s.validation for s in fold_splits(cases, 2, path=path)] == [("c2",), ("c0", "c1")]
    with pytest.raises(ConfigError, match=r"splits_final\.json has 2 folds, and 3"):
        fold_splits(cases, 3, path=path)
    with pytest.raises(ConfigError, match="two folds or more, and 1 were"):
        fold_splits(cases, 1)


def test_a_case_that_two_folds_hold_out_is_told(tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["c1"], "val": ["c0"]}] * 2))
    with pytest.raises(ConfigError, match=r"More than one fold holds out \['c0'\]"):
        fold_splits(in_folds(None, None), 2, path=path)


def test_cases_that_a_list_of_folds_leaves_out_are_told():
    cases = [Case(case_id=name, images=(Path(name),)) for name in "abcd"]
    one = Split(train=("a",), validation=("b",))
    told = find_unused(cases, [one])
    assert [(f.case, f.code, f.refuses) for f in told] == [
        ("c", "SET-UNUSED", False),
        ("d", "SET-UNUSED", False),
    ]
    two = Split(train=("b", "c"), validation=("a",))
    never, nowhere = find_unused(cases, [one, two])
    assert (never.case, nowhere.case) == ("c", "d")
    assert "No fold holds it out" in never.message
