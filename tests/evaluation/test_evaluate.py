"""From two folders of masks to metrics.csv and summary.json, with nothing lost on the way."""

import csv
import json
import unicodedata

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name

from tests.data.on_disk import pipe_at, write_detached
from volunet.errors import ConfigError
from volunet.evaluation.evaluate import evaluate
from volunet.evaluation.pairs import Pair, pair_masks
from volunet.findings import Refused
from volunet.space.labels import Labels

LABELS = {"labels": {"liver": 1, "spleen": 2}, "channels": ["CT"], "regions": {"both": [1, 2]}}
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def ball(*, radius: float, value: int = 1, centre=(6, 6, 6)) -> np.ndarray:
    far = np.sqrt(sum((a - c) ** 2 for a, c in zip(np.indices((14, 13, 12)), centre, strict=True)))
    return (far <= radius).astype("u1") * value


def save(path, voxels, affine=AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)


@pytest.fixture
def folders(tmp_path):
    """Three cases; c has no prediction, and b no spleen."""
    predictions, references = tmp_path / "predictions", tmp_path / "data" / "labels"
    spleen = ball(radius=1.5, value=2, centre=(11, 10, 9))
    save(references / "a.nii.gz", ball(radius=3) + spleen)
    save(references / "b.nii.gz", ball(radius=3))
    save(references / "site" / "c.nii", ball(radius=3) + spleen)
    save(predictions / "a.nii", ball(radius=2.5) + spleen)
    save(predictions / "b.nii.gz", ball(radius=3))
    for name in ("cases.csv", "run.json", "a.png", ".d.nii.gz"):
        (predictions / name).write_text("not a mask")
    (references.parent / "labels.json").write_text(json.dumps(LABELS))
    return predictions, references


def rows_of(path):
    with (path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return {(row["case_id"], row["label"]): row for row in csv.DictReader(file)}


def test_folders_become_a_table_and_a_summary(folders, tmp_path):
    found = evaluate(*folders, tmp_path / "out", tolerance_mm=2.0)
    rows, summary = (
        rows_of(tmp_path / "out"),
        json.loads((tmp_path / "out/summary.json").read_text()),
    )
    assert len(rows) == len(found.scores) == 9
    small, large = ball(radius=2.5).sum(), ball(radius=3).sum()
    liver = rows["a", "liver"]
    assert float(liver["dice"]) == pytest.approx(2 * small / (small + large))
    assert float(liver["volume_ref_ml"]) == pytest.approx(large * 0.002)
    assert (liver["nsd_tolerance_mm"], liver["status"]) == ("2", "ok")
    assert rows["b", "spleen"]["dice"] == rows["b", "spleen"]["hd95_mm"] == ""
    assert float(rows["a", "spleen"]["dice"]) == float(rows["b", "both"]["dice"]) == 1
    assert summary["labels"]["spleen"]["n_both_empty"] == 1
    assert summary["nsd_tolerance_mm"] == 2.0
    assert summary == found.summary


def test_a_missing_prediction_costs_as_much_as_an_empty_one(folders, tmp_path):
    found = evaluate(*folders, tmp_path / "out")
    assert found.missing == ("site__c",)
    row = rows_of(tmp_path / "out")["site__c", "liver"]
    assert (row["status"], row["dice"], row["volume_pred_ml"]) == ("missing", "0", "0")
    assert float(row["hd95_mm"]) == pytest.approx((14**2 + 13**2 + 24**2) ** 0.5)
    assert found.summary["labels"]["spleen"]["dice"]["mean"] == 0.5
    assert found.summary["cases"]["missing"] == ["site__c"]


def test_references_without_a_prediction_can_be_left_out(folders):
    found = evaluate(*folders, only_predicted=True)
    assert found.missing == ()
    assert found.summary["cases"]["left_out"] == ["site__c"]
    assert set(found.case_means()) == {"a", "b"}


def test_case_means_are_over_labels_not_regions(folders):
    found = evaluate(*folders)
    dice = {(s.case_id, s.label): s.dice for s in found.scores}
    means = found.case_means()
    assert means["a"] == pytest.approx((dice["a", "liver"] + dice["a", "spleen"]) / 2)
    assert means["b"] == dice["b", "liver"]


def test_a_prediction_without_a_reference_is_a_usage_error(folders):
    save(folders[0] / "stranger.nii.gz", ball(radius=3))
    with pytest.raises(ConfigError, match="stranger"):
        evaluate(*folders)


def test_one_bad_case_never_stops_the_rest(folders, tmp_path):
    save(folders[0] / "b.nii.gz", ball(radius=3), np.diag([1, 1, 2.5, 1]))
    whole = (folders[0] / "a.nii").read_bytes()
    (folders[0] / "a.nii").write_bytes(whole[:-100])
    save(folders[0] / "site__c.nii.gz", ball(radius=3))
    found = evaluate(*folders, tmp_path / "out")
    assert found.refused == ("a", "b")
    assert found.summary["cases"]["refused"] == {"a": ["IO-TRUNC"], "b": ["GEO-MISMATCH"]}
    row = rows_of(tmp_path / "out")["b", "liver"]
    assert (row["status"], row["dice"], row["volume_ref_ml"]) == ("refused", "", "")
    assert found.summary["labels"]["liver"]["dice"]["n"] == 1
    assert found.summary["labels"]["liver"]["n_refused"] == 2


def test_a_prediction_that_cannot_be_one_is_refused_and_not_missing(folders):
    predictions, references = folders
    for name in "defg":
        save(references / f"{name}.nii.gz", ball(radius=3))
    plane = sitk.GetImageFromArray(np.zeros((9, 9), "u1"))
    sitk.WriteImage(plane, str(predictions / "d.png"))  # a view of a mask that is not there
    (predictions / "e.nii.gz").symlink_to(predictions / "gone.nii.gz")
    with pipe_at(predictions / "f.nii"):
        found = evaluate(*folders)
    assert found.summary["cases"]["refused"] == {"e": ["IO-MISSING"], "f": ["IO-FORMAT"]}
    assert found.missing == ("d", "g", "site__c")
    alone = evaluate(*folders, only_predicted=True)
    assert alone.summary["cases"]["left_out"] == ["d", "g", "site__c"]


def test_a_picture_among_predictions_of_volumes_is_passed_over_and_told(folders, caplog):
    (folders[0] / "all.png").write_text("of all cases")
    assert evaluate(*folders).missing == ("site__c",)
    assert "passed over: 1, such as 'a.png'." in caplog.text
    assert "passed over: 1, such as 'all.png'." in caplog.text


def test_a_stray_volume_takes_no_picture_from_the_score(tmp_path):
    for folder in ("predictions", "references"):
        (tmp_path / folder / "more").mkdir(parents=True)
        mask = sitk.GetImageFromArray(np.ones((9, 9), "u1"))
        for name in ("a.png", "more/b.png"):
            sitk.WriteImage(mask, str(tmp_path / folder / name))
        save(tmp_path / folder / "atlas.nii.gz", ball(radius=3))
    found = evaluate(tmp_path / "predictions", tmp_path / "references")
    assert {score.case_id for score in found.scores} == {"a", "atlas", "more__b"}


def test_a_reference_that_is_a_link_to_nothing_is_told_as_such(folders):
    (folders[1] / "a.nii").symlink_to(folders[1] / "gone.nii.gz")
    with pytest.raises(Refused, match="IO-MISSING"):
        evaluate(*folders)


def test_a_picture_that_loses_values_is_refused_for_a_reference_that_is_one(tmp_path):
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for folder, name in ((predictions, "a.png"), (predictions, "b.jpg"), (references, "a.png")):
        folder.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((9, 9), "u1")), str(folder / name))
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((9, 9), "u1")), str(references / "b.png"))
    found = evaluate(predictions, references)
    assert found.summary["cases"]["refused"] == {"b": ["LBL-LOSSY"]}
    assert found.missing == ()


def test_without_a_labels_file_labels_are_called_by_their_values(folders):
    (folders[1].parent / "labels.json").unlink()
    found = evaluate(*folders)
    assert {s.label for s in found.scores} == {"1", "2"}


def test_a_labels_file_among_the_references_counts_too(folders):
    _, references = folders
    names = list(evaluate(*folders).summary["labels"])
    (references.parent / "labels.json").rename(references / "labels.json")
    assert list(evaluate(*folders).summary["labels"]) == names


def test_labels_that_are_given_win_over_the_file(folders):
    found = evaluate(*folders, labels=Labels(structures={"L": 1, "S": 2}))
    assert {s.label for s in found.scores} == {"L", "S"}


def test_undeclared_values_refuse_their_case(folders):
    found = evaluate(*folders, labels=Labels(structures={"L": 1}), only_predicted=True)
    assert found.summary["cases"]["refused"] == {"a": ["LBL-UNKNOWN"]}


def test_waivers_hold_for_references_and_predictions(folders):
    predictions, references = folders
    moved = AFFINE.copy()
    moved[:3, 3] += 40
    save(predictions / "b.nii.gz", ball(radius=3), moved)
    assert "b" in evaluate(*folders).summary["cases"]["refused"]
    found = evaluate(*folders, accept=["GEO-MISMATCH"])
    assert found.refused == ()
    assert found.summary["accepted"] == ["GEO-MISMATCH"]
    (row,) = (s for s in found.scores if (s.case_id, s.label) == ("b", "liver"))
    assert row.dice == 1
    save(references / "b.nii.gz", ball(radius=3)[..., 5])
    save(predictions / "b.nii.gz", ball(radius=3)[..., 5])
    assert evaluate(*folders).summary["cases"]["refused"]["b"] == ["IMG-2D"]
    assert evaluate(*folders, accept=["IMG-2D"]).refused == ()


def test_linked_folders_are_looked_into(folders, tmp_path):
    predictions, references = folders
    for side, folder in (("p", predictions), ("r", references)):
        save(tmp_path / side / "x.nii.gz", ball(radius=3))
        (folder / "linked").symlink_to(tmp_path / side, target_is_directory=True)
    found = evaluate(*folders)
    assert ("linked__x", 1.0) in {(s.case_id, s.dice) for s in found.scores if s.label == "liver"}


def test_two_files_of_one_case_are_refused(folders):
    save(folders[0] / "a.nii.gz", ball(radius=3))
    with pytest.raises(Refused, match="SET-DUPLICATE-ID"):
        evaluate(*folders)


def test_masks_whose_voxels_lie_beside_their_header_are_paired(tmp_path):
    one, two = (write_detached(tmp_path / name / "a.mhd", b"\1" * 24) for name in "pr")
    assert pair_masks(one.parent, two.parent) == [Pair("a", two, one)]
    assert evaluate(one.parent, two.parent).scores[0].dice == 1


def test_a_folder_and_a_file_may_spell_one_name_in_two_ways(tmp_path):
    for folder, form in (("p", "NFD"), ("r", "NFC")):
        name = unicodedata.normalize(form, "é")
        save(tmp_path / folder / name / f"{name}.nii", ball(radius=2))
    (pair,) = pair_masks(tmp_path / "p", tmp_path / "r")
    assert pair.case_id == "\u00e9__\u00e9"
    assert pair.prediction is not None


def test_a_folder_without_masks_is_refused(folders, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(Refused, match="SET-EMPTY"):
        evaluate(folders[0], tmp_path / "none")
    with pytest.raises(ConfigError, match="not a folder"):
        evaluate(folders[0], tmp_path / "nowhere")


def test_references_without_any_label_are_refused(folders):
    (folders[1].parent / "labels.json").unlink()
    for path in folders[1].rglob("*.nii*"):
        save(path, np.zeros((14, 13, 12), "u1"))
    with pytest.raises(Refused, match="LBL-ALL-EMPTY"):
        evaluate(*folders)


def test_why_no_reference_could_be_read_is_told(folders):
    (folders[1].parent / "labels.json").unlink()
    for path in folders[1].rglob("*.nii*"):
        save(path, ball(radius=3, value=255))
    with pytest.raises(Refused, match="LBL-255") as refused:
        evaluate(*folders)
    assert {found.case for found in refused.value.findings} == {"a", "b", "site__c"}


def test_no_prediction_at_all_is_told_where_only_those_count(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="empty holds no prediction of a reference"):
        evaluate(tmp_path / "empty", folders[1], only_predicted=True)


def test_a_negative_tolerance_is_a_usage_error(folders):
    with pytest.raises(ConfigError, match="0 mm or more"):
        evaluate(*folders, tolerance_mm=-1)


def test_the_same_seed_gives_the_same_files(folders, tmp_path):
    for name in ("one", "two"):
        evaluate(*folders, tmp_path / name, seed=4)
    for file in ("metrics.csv", "summary.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_a_labels_json_says_was_not_drawn_is_not_scored(folders, tmp_path):
    predictions, references = folders
    declared = references.parent / "labels.json"
    declared.write_text(json.dumps(LABELS | {"labelled": {"b": ["liver"], "site__c": ["spleen"]}}))
    found = evaluate(predictions, references, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert rows["b", "spleen"]["status"] == rows["b", "both"]["status"] == "undrawn"
    assert rows["b", "liver"]["status"] == "ok"
    assert rows["site__c", "spleen"]["status"] == "missing"
    assert rows["site__c", "liver"]["status"] == "undrawn"
    assert found.summary["labels"]["spleen"]["n_undrawn"] == 1
    assert found.summary["labels"]["spleen"]["dice"]["n"] == 2
    assert found.missing == ("site__c",)
    declared.write_text(json.dumps(LABELS | {"labelled": {"b": ["lung"]}}))
    with pytest.raises(ConfigError, match=r"\['lung'\] were drawn in b.*'liver', 'spleen'"):
        evaluate(predictions, references)


def without_labels_json(folders):
    (folders[1].parent / "labels.json").unlink()
    return folders


def test_what_was_invented_everywhere_costs_and_takes_no_case_out_of_the_means(folders):
    predictions, references = without_labels_json(folders)
    save(predictions / "b.nii.gz", ball(radius=3) + ball(radius=1, value=3, centre=(1, 1, 1)))
    found = evaluate(predictions, references)
    assert found.refused == ()
    rows = {(s.case_id, s.label): s for s in found.scores}
    assert rows["b", "3"].dice == 0
    assert rows["b", "1"].dice == 1
    (told,) = found.findings
    assert (told.code, told.refuses) == ("LBL-UNKNOWN", False)
    assert "[3]" in told.message


def test_a_dataset_json_beside_the_references_names_labels_and_what_is_ignored(folders):
    predictions, references = without_labels_json(folders)
    save(references / "b.nii.gz", ball(radius=3) + ball(radius=1, value=7, centre=(1, 1, 1)))
    labels = {"background": 0, "liver": 1, "spleen": 2, "ignore": 7}
    (references.parent / "dataset.json").write_text(json.dumps({"labels": labels}))
    found = evaluate(predictions, references)
    assert found.refused == ()
    assert list(found.summary["labels"]) == ["liver", "spleen"]


def test_a_labels_json_that_names_channels_alone_leaves_labels_to_their_values(folders):
    predictions, references = folders
    (references.parent / "labels.json").write_text(json.dumps({"channels": ["CT"]}))
    assert list(evaluate(predictions, references).summary["labels"]) == ["1", "2"]


def test_what_was_drawn_goes_by_the_composed_id_and_a_stranger_is_told(folders):
    predictions, references = folders
    name = "Müller"
    save(references / f"{name}.nii.gz", ball(radius=3))
    save(predictions / f"{name}.nii.gz", ball(radius=3) + ball(radius=1, value=2, centre=(1, 1, 1)))
    drawn = {unicodedata.normalize("NFD", name): ["liver"], "case_7": ["liver"]}
    (references.parent / "labels.json").write_text(json.dumps(LABELS | {"labelled": drawn}))
    found = evaluate(predictions, references)
    status = {s.label: s.status for s in found.scores if s.case_id == name}
    assert status == {"liver": "ok", "spleen": "undrawn", "both": "undrawn"}
    assert [f.code for f in found.findings] == ["SET-LABELLED"]
    assert "'case_7'" in found.findings[0].message
    assert found.refused == ()


@pytest.mark.parametrize("tolerance_mm", [-1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused_before_anything_is_written(
    folders, tmp_path, tolerance_mm
):
    with pytest.raises(ConfigError, match="tolerance of NSD"):
        evaluate(*folders, tmp_path / "out", tolerance_mm=tolerance_mm)
    assert not (tmp_path / "out").exists()
