"""Every case is held out once, by the fold that scores it, and all networks make one model."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.torch import load_file

import volunet as vn
from tests.api.held_out import write_case
from volunet.api.asked import Wanted, Watch
from volunet.api.crossval import cross_validate
from volunet.cohort.lock import NAME, locked
from volunet.data.splits import Split
from volunet.errors import ConfigError, Stopped, TakenOver
from volunet.findings import Refused
from volunet.packaging.model_file import read_model_file
from volunet.recipe import Recipe

CASES = 6
RECIPE = Recipe.default(
    changes=[
        'budget="8steps"',
        "plan.patch=[16,16,16]",
        "plan.features=[4,8]",
        "plan.strides=[[2,2,2]]",
        "plan.kernels=[[3,3,3],[3,3,3]]",
        "plan.batch=2",
        "plan.spacing=[1,1,1]",
    ]
)


@pytest.fixture
def dataset(tmp_path):
    """Six cases with a bright ball each."""
    for kind in ("images", "labels"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for number in range(CASES):
        case = write_case(tmp_path, number)
        case.images[0].rename(tmp_path / "set" / "images" / f"{case.case_id}.nii.gz")
        case.label.rename(tmp_path / "set" / "labels" / f"{case.case_id}.nii.gz")
    (tmp_path / "set" / "labels.json").write_text(json.dumps({"labels": {"ball": 1}}))
    return tmp_path / "set"


@pytest.fixture
def wanted(tmp_path):
    return Wanted(device="cpu", cache=tmp_path / "cache")


def rows_of(path):
    with path.open() as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def test_each_case_is_scored_by_the_fold_that_did_not_see_it(dataset, wanted, tmp_path):
    done = cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=wanted)
    rows = rows_of(tmp_path / "cv" / "validation" / "metrics.csv")
    assert sorted(rows) == sorted(f"case_{n}" for n in range(CASES))
    splits = json.loads((tmp_path / "cv" / "splits.json").read_text())
    assert sorted(c for split in splits for c in split["validation"]) == sorted(rows)
    for fold, split in enumerate(splits):
        apart = tmp_path / "cv" / f"fold_{fold}" / "validation"
        assert set(rows_of(apart / "metrics.csv")) == set(split["validation"])
        for case_id, row in rows_of(apart / "metrics.csv").items():
            assert rows[case_id] == row
            masks = [p / f"{case_id}.nii.gz" for p in (apart, tmp_path / "cv" / "validation")]
            one, other = (np.asarray(nib.load(path).dataobj) for path in masks)
            np.testing.assert_array_equal(one, other)
    assert done.validated.summary["labels"]["ball"]["dice"]["n"] == CASES
    plans = {
        (tmp_path / "cv" / name / "plan.json").read_text() for name in ("", "fold_0", "fold_1")
    }
    assert len(plans) == 1


def check_model(done, dataset) -> None:
    """The model holds the networks of both folds, and is run as one."""
    model = read_model_file(done.model)
    assert (model.training.cases, model.training.steps) == (CASES, 8)
    assert (model.training.scored, model.training.held_out) == (CASES, CASES)
    means = done.validated.summary["labels"]
    assert model.training.validation_dice == {"ball": means["ball"]["dice"]["mean"]}
    each = {path.name for run in done.runs for path in run.model.glob("weights_*.safetensors")}
    assert set(model.weights) == each == {p.name for p in done.model.glob("weights_*")}
    assert len(each) == 2
    first, second = (load_file(done.model / name) for name in sorted(each))
    assert any((first[name] != second[name]).any() for name in first)
    assert model.calibration is None or model.calibration.cases >= 2
    segment = vn.load(done.folder, device="cpu", engine="torch", precision="fp32")
    assert len(segment.engines) == 2
    found = segment(vn.read(dataset / "images" / "case_0.nii.gz"))
    assert found.labels.voxels.shape == (1, 28, 28, 28)


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped_and_ends_once(dataset, wanted, tmp_path):
    def stop_in_the_second_fold() -> bool:
        return (tmp_path / "cv" / "fold_1" / "history.csv").exists()

    with pytest.raises(Stopped):
        cross_validate(
            dataset,
            tmp_path / "cv",
            RECIPE,
            folds=2,
            wanted=wanted,
            watch=Watch(should_stop=stop_in_the_second_fold),
        )
    assert not (tmp_path / "cv" / "model").exists()
    first = (tmp_path / "cv" / "fold_0" / "model" / "model.json").read_bytes()
    parts = cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=wanted)
    assert (tmp_path / "cv" / "fold_0" / "model" / "model.json").read_bytes() == first
    whole = cross_validate(dataset, tmp_path / "whole", RECIPE, folds=2, wanted=wanted)
    assert read_model_file(parts.model).weights == read_model_file(whole.model).weights
    said = []
    again = cross_validate(
        dataset, tmp_path / "cv", RECIPE, folds=2, wanted=wanted, watch=Watch(say=said.append)
    )
    assert again.validated is None
    assert "has ended already" in said[0]


@pytest.mark.slow
def test_folds_that_are_trained_apart_make_the_same_model(dataset, wanted, tmp_path):
    said = list[str]()

    def train(folder, fold, recipe=RECIPE):
        watch, asked = Watch(say=said.append), replace(wanted, fold=fold)
        return cross_validate(dataset, folder, recipe, folds=2, wanted=asked, watch=watch)

    whole = train(tmp_path / "whole", None)
    one = train(tmp_path / "apart", 1)
    assert (one.missing, one.model) == ((0,), tmp_path / "apart" / "fold_1" / "model")
    assert set(one.validated.summary["labels"]) == {"ball"}
    assert "Still to be trained: fold 0." in said[-1]
    assert not (tmp_path / "apart" / "model").exists()
    with pytest.raises(ConfigError, match="started with other values"):
        train(tmp_path / "apart", 0, RECIPE.model_copy(update={"budget": "10steps"}))
    both = train(tmp_path / "apart", 0)
    assert (both.missing, both.model) == ((), tmp_path / "apart" / "model")
    assert read_model_file(both.model).weights == read_model_file(whole.model).weights
    assert [run.folder.name for run in both.runs] == ["fold_0", "fold_1"]
    tables = [run / "validation" / "metrics.csv" for run in (whole.folder, both.folder)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert train(tmp_path / "apart", 1).validated is None


def test_all_folds_are_trained_but_the_one_that_another_process_trains(dataset, wanted, tmp_path):
    said = list[str]()
    with locked(tmp_path / "cv" / "fold_1"):
        done = cross_validate(
            dataset, tmp_path / "cv", RECIPE, folds=2, wanted=wanted, watch=Watch(say=said.append)
        )
        asked = replace(wanted, fold=1)
        with pytest.raises(ConfigError, match=r"at work on .*fold_1"):
            cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=asked)
    assert (done.missing, done.model) == ((1,), tmp_path / "cv" / "fold_0" / "model")
    assert any("left to whoever trains it: Another volunet" in text for text in said)


def test_a_fold_goes_on_without_the_model_that_it_started_from(dataset, wanted, tmp_path):
    asked = holding_out_case_1(wanted, tmp_path)
    vn.train(dataset, tmp_path / "first", RECIPE, wanted=asked)
    on = replace(wanted, start=tmp_path / "first", fold=1, accept=("SET-LEAK",))
    seen = (tmp_path / "cv" / "fold_1" / "history.csv").exists
    how = {"folds": 2, "wanted": on}
    with pytest.raises(Stopped):
        cross_validate(dataset, tmp_path / "cv", RECIPE, **how, watch=Watch(should_stop=seen))
    shutil.rmtree(tmp_path / "first")
    assert cross_validate(dataset, tmp_path / "cv", RECIPE, **how).missing == (0,)


def test_another_command_is_told_that_a_fold_is_being_trained(dataset, wanted, tmp_path):
    other, told = RECIPE.model_copy(update={"budget": "10steps"}), list[ConfigError]()

    def should_stop() -> bool:  # no checkpoint is there yet
        if (tmp_path / "cv" / "fold_0" / "history.csv").exists():
            with pytest.raises(ConfigError) as caught:
                cross_validate(
                    dataset, tmp_path / "cv", other, folds=2, wanted=replace(wanted, fold=1)
                )
            told.append(caught.value)
        return bool(told)

    with pytest.raises(Stopped):
        cross_validate(
            dataset,
            tmp_path / "cv",
            RECIPE,
            folds=2,
            wanted=replace(wanted, fold=0),
            watch=Watch(should_stop=should_stop),
        )
    assert "started with other values of recipe.budget" in str(told[0])


@pytest.mark.parametrize("question", [2, 5])  # after a step, and after a case that is scored
def test_who_lost_the_folder_to_another_process_writes_nothing_more(
    dataset, wanted, tmp_path, question, monkeypatch
):
    run, asked, kept = tmp_path / "run", list[None](), dict[Path, bytes]()
    often = RECIPE.training.model_copy(update={"validations": 2})
    recipe = RECIPE.model_copy(update={"budget": "8steps", "training": often})
    monkeypatch.setattr("volunet.cohort.lock.SIGN_S", 0.0)

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def should_stop() -> bool:
        asked.append(None)
        if len(asked) == question - 1:
            (run / NAME).write_text('{"host": "another", "pid": 1, "born": ""}')
            kept.update(contents())
        return False

    with pytest.raises(TakenOver, match="Another volunet has taken run over"):
        vn.train(
            dataset,
            run,
            recipe,
            wanted=holding_out_case_1(wanted, tmp_path),
            watch=Watch(should_stop=should_stop),
        )
    assert len(asked) == question - 1
    assert contents() == kept


@pytest.mark.parametrize("fold", [-1, 2])
def test_a_fold_that_there_is_not_is_told(dataset, wanted, tmp_path, fold):
    with pytest.raises(ConfigError, match=f"folds are 0, 1; none is {fold}"):
        cross_validate(dataset, tmp_path, RECIPE, folds=2, wanted=replace(wanted, fold=fold))


@pytest.mark.slow
def test_what_was_started_otherwise_is_told(dataset, wanted, tmp_path):
    cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=wanted)
    with pytest.raises(ConfigError, match="folds"):
        cross_validate(dataset, tmp_path / "cv", RECIPE, folds=3, wanted=wanted)
    other = RECIPE.model_copy(update={"budget": "10steps"})
    with pytest.raises(ConfigError, match=r"recipe\.budget"):
        cross_validate(dataset, tmp_path / "cv", other, folds=2, wanted=wanted)
    with pytest.raises(ConfigError, match="seed"):
        cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=replace(wanted, seed=1))


@pytest.mark.slow
def test_a_plan_that_was_changed_between_two_folds_is_told(dataset, wanted, tmp_path):
    seen = (tmp_path / "cv" / "fold_1" / "history.csv").exists
    with pytest.raises(Stopped):
        cross_validate(
            dataset, tmp_path / "cv", RECIPE, folds=2, wanted=wanted, watch=Watch(should_stop=seen)
        )
    plan = json.loads((tmp_path / "cv" / "plan.json").read_text())
    (tmp_path / "cv" / "plan.json").write_text(json.dumps(plan | {"spacing": [1.5, 1, 1]}))
    with pytest.raises(ConfigError, match=r"plan\.spacing"):
        cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=wanted)


@pytest.mark.slow
def test_folds_of_a_column_may_have_any_numbers(dataset, wanted, tmp_path):
    rows = ["case_id,image,label,fold"]
    for number in range(CASES):
        name = f"case_{number}.nii.gz"
        rows.append(f"case_{number},images/{name},labels/{name},{(1, 7)[number % 2]}")
    (dataset / "table.csv").write_text("\n".join(rows) + "\n")
    cross_validate(dataset / "table.csv", tmp_path / "cv", RECIPE, folds=2, wanted=wanted)
    splits = json.loads((tmp_path / "cv" / "splits.json").read_text())
    assert splits[0]["validation"] == ["case_0", "case_2", "case_4"]
    again = replace(wanted, fold=7)
    apart = cross_validate(dataset / "table.csv", tmp_path / "7", RECIPE, folds=2, wanted=again)
    assert (apart.missing, apart.runs[0].folder.name) == ((1,), "fold_7")
    assert set(rows_of(apart.runs[0].folder / "validation" / "metrics.csv")) == {
        f"case_{n}" for n in (1, 3, 5)
    }
    assert set(rows_of(tmp_path / "cv" / "validation" / "metrics.csv")) == {
        f"case_{n}" for n in range(CASES)
    }


def holding_out_case_1(wanted, folder):
    """Of three cases the second is held out."""
    splits = folder / "splits.json"
    splits.write_text(json.dumps([{"train": ["case_0", "case_2"], "val": ["case_1"]}]))
    return replace(wanted, splits=splits)


def test_a_leak_that_is_waived_stands_in_the_record(dataset, wanted, tmp_path):
    for kind in ("images", "labels"):
        first, second = sorted((dataset / kind).iterdir())[:2]
        second.write_bytes(first.read_bytes())
    asked = holding_out_case_1(wanted, tmp_path)
    with pytest.raises(Refused, match="SET-LEAK"):
        vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked)
    waived = replace(asked, accept=("SET-LEAK",))
    done = vn.train(dataset, tmp_path / "run", RECIPE, wanted=waived)
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["findings"]
    for codes in ([f.code for f in done.findings], [f["code"] for f in kept]):
        assert "SET-LEAK" in codes


def test_the_same_image_in_two_files_is_a_leak(dataset, wanted, tmp_path):
    image = nib.load(dataset / "images" / "case_0.nii.gz")
    nib.save(image, dataset / "images" / "case_1.nii")
    (dataset / "images" / "case_1.nii.gz").unlink()
    asked = holding_out_case_1(wanted, tmp_path)
    with pytest.raises(Refused, match="in files that differ"):
        vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked)
    waived = replace(asked, accept=("SET-LEAK",))
    done = vn.train(dataset, tmp_path / "run", RECIPE, wanted=waived)
    assert [f.code for f in done.findings].count("SET-LEAK") == 1
    folds = [{"train": ["case_0", "case_2"], "val": ["case_3"]}]
    folds += [{"train": ["case_0", "case_2"], "val": ["case_1"]}]
    asked.splits.write_text(json.dumps(folds))
    with pytest.raises(Refused, match="in files that differ"):
        cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=asked)
    assert not (tmp_path / "cv" / "fold_0").exists()  # before any fold was trained


def test_what_was_found_before_a_pause_is_still_told_after_it(dataset, wanted, tmp_path):
    declared = json.loads((dataset / "labels.json").read_text())
    declared["labels"]["cube"] = 2  # which no case has
    (dataset / "labels.json").write_text(json.dumps(declared))
    whole = vn.train(dataset, tmp_path / "whole", RECIPE, wanted=wanted)
    asked = iter([False, False, True])
    watch = Watch(should_stop=lambda: next(asked))
    with pytest.raises(Stopped):
        vn.train(dataset, tmp_path / "run", RECIPE, wanted=wanted, watch=watch)
    again = vn.train(dataset, tmp_path / "run", RECIPE, wanted=wanted)
    told = {(f.code, f.case) for f in whole.findings}
    assert told
    assert {(f.code, f.case) for f in again.findings} == told


def test_a_plan_that_a_refused_command_left_is_not_the_next_ones(dataset, wanted, tmp_path):
    image = nib.load(dataset / "images" / "case_0.nii.gz")
    nib.save(image, dataset / "images" / "case_1.nii")
    (dataset / "images" / "case_1.nii.gz").unlink()
    run = tmp_path / "run"
    with pytest.raises(Refused, match="SET-LEAK"):
        vn.train(dataset, run, RECIPE, wanted=holding_out_case_1(wanted, tmp_path))
    left = json.loads((run / "plan.json").read_text())
    other = replace(wanted, split=Split(train=("case_3",), validation=("case_4",)))
    recipe = RECIPE.model_copy(update={"plan": {**RECIPE.plan, "batch": 1}})
    vn.train(dataset, run, recipe, wanted=other)
    assert (left["batch"], json.loads((run / "plan.json").read_text())["batch"]) == (2, 1)
    facts = json.loads((run / "fingerprint.json").read_text())
    assert set(facts["cases"]) == {"case_3"}


def test_a_run_with_a_waived_leak_goes_on(dataset, wanted, tmp_path):
    for kind in ("images", "labels"):
        first, second = sorted((dataset / kind).iterdir())[:2]
        second.write_bytes(first.read_bytes())
    asked = replace(holding_out_case_1(wanted, tmp_path), accept=("SET-LEAK",))
    watch = Watch(should_stop=(tmp_path / "run" / "history.csv").exists)
    with pytest.raises(Stopped):
        vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked, watch=watch)
    assert vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked).trained is not None
    assert vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked).trained is None


def test_a_persons_plan_outlives_a_refusal(dataset, wanted, tmp_path):
    image = nib.load(dataset / "images" / "case_0.nii.gz")
    nib.save(image, dataset / "images" / "case_1.nii")
    (dataset / "images" / "case_1.nii.gz").unlink()
    run, asked = tmp_path / "run", holding_out_case_1(wanted, tmp_path)
    with pytest.raises(Refused):
        vn.train(dataset, run, RECIPE, wanted=asked)
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan | {"batch": 3}))
    with pytest.raises(Refused):
        vn.train(dataset, run, RECIPE, wanted=asked)
    vn.train(dataset, run, RECIPE, wanted=replace(asked, accept=("SET-LEAK",)))
    assert json.loads((run / "plan.json").read_text())["batch"] == 3


def test_a_plan_that_somebody_changed_counts_and_says_what_does_not(dataset, wanted, tmp_path):
    run, said = tmp_path / "run", []
    asked = holding_out_case_1(wanted, tmp_path)
    with pytest.raises(Stopped):
        vn.train(dataset, run, RECIPE, wanted=asked, watch=Watch(should_stop=lambda: True))
    plan = json.loads((run / "plan.json").read_text())
    shutil.rmtree(run)
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(plan | {"batch": 3}))
    vn.train(dataset, run, RECIPE, wanted=asked, watch=Watch(say=said.append))
    assert json.loads((run / "plan.json").read_text())["batch"] == 3
    assert any("which does not count: plan.batch." in text for text in said)


def test_a_case_that_the_model_to_start_from_has_learnt_is_not_held_out(dataset, wanted, tmp_path):
    asked = holding_out_case_1(wanted, tmp_path)
    vn.train(dataset, tmp_path / "first", RECIPE, wanted=asked)
    on = replace(asked, start=tmp_path / "first")
    vn.train(dataset, tmp_path / "on", RECIPE, wanted=on)
    other = replace(on, splits=None, split=Split(train=("case_1",), validation=("case_2",)))
    with pytest.raises(Refused, match=r"SET-LEAK.*the image of 'case_.', as case 'case_2'"):
        vn.train(dataset, tmp_path / "off", RECIPE, wanted=other)
    folds = replace(on, splits=None)
    with pytest.raises(Refused, match="has learnt from the image"):
        cross_validate(dataset, tmp_path / "cv", RECIPE, folds=2, wanted=folds)
    assert not (tmp_path / "cv" / "fold_0").exists()
    waived = replace(other, accept=("SET-LEAK",))
    done = vn.train(dataset, tmp_path / "off", RECIPE, wanted=waived)
    assert [(f.case, f.code) for f in done.findings if f.accepted] == [("case_2", "SET-LEAK")]


def listed(dataset, name, rows):
    """A table of cases by id, number, group and side."""
    lines = ["case_id,image,label,group,split"]
    for case_id, number, group, side in rows:
        files = ",".join(f"{kind}/case_{number}.nii.gz" for kind in ("images", "labels"))
        lines.append(f"{case_id},{files},{group},{side}")
    (dataset / name).write_text("\n".join(lines))
    return dataset / name


def test_a_patient_who_was_learnt_from_in_another_image_is_not_held_out(dataset, wanted, tmp_path):
    first = [("pet_0", 0, "ann", "train"), ("x", 1, "bob", "train"), ("y", 2, "", "validation")]
    vn.train(listed(dataset, "first.csv", first), tmp_path / "first", RECIPE, wanted=wanted)
    on, said = replace(wanted, start=tmp_path / "first"), list[str]()
    second = [("mr_0", 3, "ann", "validation"), ("z", 4, "", "train")]
    with pytest.raises(Refused, match=r"SET-LEAK.*'ann', the group of 'mr_0', as case 'pet_0'"):
        vn.train(listed(dataset, "second.csv", second), tmp_path / "second", RECIPE, wanted=on)
    third = listed(dataset, "third.csv", [("x", 3, "", "validation"), ("z", 4, "", "train")])
    done = vn.train(third, tmp_path / "third", RECIPE, wanted=on, watch=Watch(say=said.append))
    (told,) = (f for f in done.findings if f.code == "SET-SAME-ID")
    assert "called like 'x'." in told.message
    assert str(told) in said


def test_a_case_that_cannot_be_read_today_is_told_and_not_called_changed(dataset, wanted, tmp_path):
    asked = holding_out_case_1(wanted, tmp_path)
    watch = Watch(should_stop=(tmp_path / "run" / "history.csv").exists)
    with pytest.raises(Stopped):
        vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked, watch=watch)
    image = dataset / "images" / "case_2.nii.gz"
    content = image.read_bytes()
    image.unlink()
    image.symlink_to(tmp_path / "share" / "away.nii.gz")
    with pytest.raises(Refused) as caught:
        vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked)
    assert {f.case for f in caught.value.findings} == {"case_2"}
    image.unlink()
    image.write_bytes(content)
    vn.train(dataset, tmp_path / "run", RECIPE, wanted=asked)
