"""Label maps are judged together: in a check, in a survey, and before a plan is made."""

import pytest

from tests.data.on_disk import touch, write_json, write_label, write_pairs
from volunet.api.planning import open_dataset, plan_for
from volunet.data.check import check_dataset
from volunet.data.layouts import find_dataset
from volunet.data.occurrence import find_untrained
from volunet.data.survey import survey
from volunet.findings import Refused
from volunet.recipe import Recipe
from volunet.space.labels import Labels

LABELS = Labels(structures={"one": 1, "two": 2})


@pytest.fixture
def root(tmp_path):
    """Five sound cases with the labels 1 and 2."""
    write_json(tmp_path / "labels.json", {"channels": ["CT"], "labels": LABELS.structures})
    return write_pairs(tmp_path, [f"c{n}" for n in range(5)])


def empty(root, *cases):
    for case in cases:
        write_label(root / "labels" / f"{case}.nii.gz", values=())


def of_all(root, labels=LABELS, **how):
    return survey(find_dataset(root).cases, labels, 1, **how).of_all


def test_a_survey_and_a_check_judge_the_label_maps_together_alike(root):
    empty(root, "c0", "c3")
    labels = Labels(structures={"one": 1, "two": 2, "three": 3})
    write_json(root / "labels.json", {"channels": ["CT"], "labels": labels.structures})
    found = of_all(root, labels)
    assert [(f.code, f.refuses) for f in found] == [("LBL-ALL-EMPTY", True), ("LBL-ABSENT", False)]
    assert found[0].numbers == {"empty": 2, "cases": 5}
    assert found[1].numbers == {"value": 3}
    assert found == tuple(f for f in check_dataset(find_dataset(root)) if not f.case)


def test_one_empty_case_in_five_is_no_refusal(root):
    empty(root, "c0")
    assert of_all(root) == ()


def test_voxels_that_nobody_judged_are_no_structure(root):
    write_label(root / "labels" / "c0.nii.gz", values=(9,))
    write_label(root / "labels" / "c1.nii.gz", values=(9,))
    said = {"channels": ["CT"], "labels": LABELS.structures, "ignore": 9}
    write_json(root / "labels.json", said)
    found = of_all(root, Labels(structures=LABELS.structures, ignore=9))
    assert [f.code for f in found] == ["LBL-ALL-EMPTY"]
    assert found == tuple(f for f in check_dataset(find_dataset(root)) if not f.case)


def test_no_plan_is_made_where_too_many_cases_are_empty_unless_accepted(root):
    empty(root, "c0", "c3")
    recipe = Recipe.default()
    dataset = open_dataset(root, recipe)
    with pytest.raises(Refused, match="LBL-ALL-EMPTY: 2 of 5"):
        plan_for(dataset, dataset.cases, recipe, device="cpu")
    how = {"device": "cpu", "accept": ["LBL-ALL-EMPTY"]}
    planned = plan_for(dataset, dataset.cases, recipe, **how)
    (waived,) = planned.survey.of_all
    assert (waived.code, waived.accepted) == ("LBL-ALL-EMPTY", True)


def test_a_case_that_is_refused_does_not_stop_the_plan(root):
    touch(root / "images" / "c2.nii.gz", b"")
    recipe = Recipe.default()
    dataset = open_dataset(root, recipe)
    planned = plan_for(dataset, dataset.cases, recipe, device="cpu")
    assert planned.survey.refused == ("c2",)


def test_a_label_in_validation_only_is_told_by_the_survey(root):
    for n in range(4):
        write_label(root / "labels" / f"c{n}.nii.gz", values=(1,))
    rows = [f"c{n},images/c{n}.nii.gz,labels/c{n}.nii.gz,train" for n in range(4)]
    rows.append("c4,images/c4.nii.gz,labels/c4.nii.gz,validation")
    (root / "list.csv").write_text("\n".join(["case_id,image,label,split", *rows]))
    (found,) = of_all(root / "list.csv")
    assert (found.code, found.numbers) == ("SET-ABSENT-TRAIN", {"value": 2})
    assert "'two'" in found.message


def test_what_is_in_training_too_is_not_told():
    (found,) = find_untrained({1, 3}, {1, 2}, LABELS)
    assert (found.code, found.numbers) == ("SET-ABSENT-TRAIN", {"value": 2})
    assert list(find_untrained({1, 2}, {1}, LABELS)) == []
