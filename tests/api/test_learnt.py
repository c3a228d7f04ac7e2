"""What a model has learnt from is known by its images, its groups and its names."""

import json
from pathlib import Path

import pytest

from volunet.api.learnt import Learnt
from volunet.data.cases import Case

MADE_FROM = {
    "split": {"train": ["pet_1", "case_2", "case_3"], "validation": ["case_9"]},
    "images": {"pet_1": "sum of 1", "case_2": "sum of 2", "case_9": "sum of 9"},
    "groups": {"pet_1": "ann", "case_3": "bob", "case_9": "eve"},
}


def found_in(folder: Path, case_id: str, group: str = "", image: str = "", **others):
    (folder / "run.json").write_text(json.dumps({"made_from": {**MADE_FROM, **others}}))
    case = Case(case_id=case_id, images=(Path("a.nii"),), group=group)
    found = Learnt.in_run(folder, "old").find_in([case], {case_id: image} if image else {})
    return [(f.code, f.refuses, f.case, f.message) for f in found]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (("new", "", "sum of 2"), "has learnt from the image of 'new', as case 'case_2'."),
        (("case_2", "", "sum of 2"), "has learnt from the image of 'case_2', as case 'case_2'."),
        (("mr_1", "ann"), "has learnt from 'ann', the group of 'mr_1', as case 'pet_1'."),
        (("pet_1", "ann"), "has learnt from 'ann', the group of 'pet_1', as case 'pet_1'."),
    ],
)
def test_the_same_image_or_group_is_refused(tmp_path, case, told):
    ((code, refuses, where, message),) = found_in(tmp_path, *case)
    assert (code, refuses, where) == ("SET-LEAK", True, case[0])
    assert message == f"old, which training starts from, {told}"


@pytest.mark.parametrize(
    "case",
    [("case_2", "", "another"), ("case_3",), ("ann",), ("mr_2", "case_2"), ("case_2", "joe")],
)
def test_the_same_name_is_a_warning(tmp_path, case):
    ((code, refuses, _, message),) = found_in(tmp_path, *case)
    assert (code, refuses) == ("SET-SAME-ID", False)
    assert f"other images of cases called like '{case[0]}'." in message


@pytest.mark.parametrize(
    "case", [("new",), ("new", "joe", "another"), ("case_9", "eve", "sum of 9"), ("case_3", "joe")]
)
def test_what_was_not_learnt_or_is_known_to_be_another_patient_is_neither(tmp_path, case):
    assert found_in(tmp_path, *case) == []


def test_records_of_earlier_versions_and_ensembles_tell_what_they_can(tmp_path):
    assert Learnt.in_run(tmp_path, "old").ids == frozenset()
    ((code, *_),) = found_in(tmp_path, "case_2", images={}, groups={})
    assert code == "SET-SAME-ID"
    folds = [MADE_FROM["split"], {"train": ["case_9"], "validation": []}]
    assert found_in(tmp_path, "case_9", "eve", split=None, folds=folds) == []
