from dataclasses import replace

import numpy as np
import pytest

from tests.data.on_disk import (
    AFFINE,
    SHAPE,
    touch,
    write_image,
    write_json,
    write_label,
    write_nifti,
    write_pairs,
)
from volunet.data.check import check_dataset, check_scans, declare_labels
from volunet.data.layouts import find_dataset
from volunet.data.scans import find_scans
from volunet.errors import DatasetError
from volunet.findings import Refused


@pytest.fixture
def root(tmp_path):
    """Six sound cases with the labels 1 and 2."""
    write_json(tmp_path / "labels.json", {"channels": ["CT"], "labels": {"one": 1, "two": 2}})
    return write_pairs(tmp_path, [f"c{n}" for n in range(6)])


def codes(found):
    return sorted((f.case, f.code) for f in found)


def check(root, **how):
    return list(check_dataset(find_dataset(root), **how))


def image(root, case):
    return root / "images" / f"{case}.nii.gz"


def label(root, case):
    return root / "labels" / f"{case}.nii.gz"


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def test_a_sound_dataset_has_no_findings(root):
    assert check(root) == []


def test_a_case_that_cannot_be_read_is_told_and_the_others_are_checked(root):
    flip_a_byte(image(root, "c1"))
    touch(label(root, "c3"), b"")
    touch(image(root, "c4"), b"<html>sign in</html>")
    write_label(label(root, "c5"), values=(1, 7))
    seen = []
    found = check(root, progress=lambda done, of: seen.append((done, of)))
    refused = [(f.case, f.code) for f in found if f.refuses]
    assert refused[1:] == [("c3", "IO-EMPTY"), ("c4", "IO-FORMAT"), ("c5", "LBL-UNKNOWN")]
    assert refused[0] in [("c1", "IO-CRC"), ("c1", "IO-TRUNC")]
    assert seen == [(n, 6) for n in range(1, 7)]


def test_image_and_label_of_a_case_are_both_told(root):
    touch(image(root, "c1"), b"")
    touch(label(root, "c1"), b"")
    assert codes(check(root)) == [("c1", "IO-EMPTY"), ("c1", "IO-EMPTY")]


def test_a_label_map_on_another_grid_is_refused(root):
    moved = AFFINE.copy()
    moved[:3, 3] = 10, 0, 0
    write_nifti(label(root, "c0"), np.ones(SHAPE, np.uint8), moved)
    write_label(label(root, "c1"), shape=(6, 5, 5))
    found = check(root)
    assert codes(found) == [("c0", "GEO-MISMATCH"), ("c1", "GEO-MISMATCH")]
    assert [f.file for f in found] == ["c0.nii.gz", "c1.nii.gz"]
    accepted = check(root, accept=["GEO-MISMATCH"])
    assert [(f.case, f.refuses) for f in accepted] == [("c0", False), ("c1", True)]


def test_an_empty_label_map_is_a_warning_and_many_are_a_refusal(root):
    write_label(label(root, "c0"), values=())
    assert codes(check(root)) == [("c0", "LBL-EMPTY")]
    write_label(label(root, "c1"), values=())
    found = check(root)
    assert codes(found) == [("", "LBL-ALL-EMPTY"), ("c0", "LBL-EMPTY"), ("c1", "LBL-EMPTY")]
    assert [f.code for f in found if f.refuses] == ["LBL-ALL-EMPTY"]
    assert not any(f.refuses for f in check(root, accept=["LBL-ALL-EMPTY"]))


def test_a_label_that_never_occurs_is_told(root):
    said = {"channels": ["CT"], "labels": {"one": 1, "two": 2, "three": 3}}
    write_json(root / "labels.json", said)
    (found,) = check(root)
    assert (found.code, found.case, found.numbers) == ("LBL-ABSENT", "", {"value": 3})
    assert "'three'" in found.message


def test_a_tiny_label_is_told(root):
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[1], voxels[2, 0, 0] = 1, 2
    write_nifti(label(root, "c2"), voxels)
    assert codes(check(root)) == [("c2", "LBL-TINY")]


def test_the_same_image_under_two_names_is_told(root):
    image(root, "c4").write_bytes(image(root, "c1").read_bytes())
    (found,) = check(root)
    assert (found.code, found.case) == ("SET-DUPLICATE-IMAGE", "c1")
    assert "'c1', 'c4'" in found.message
    assert not found.refuses


def table(root, rows, columns="split,group"):
    lines = [f"c{n},images/c{n}.nii.gz,labels/c{n}.nii.gz,{row}" for n, row in enumerate(rows)]
    text = "\n".join([f"case_id,image,label,{columns}", *lines])
    (root / "list.csv").write_text(text)
    return root / "list.csv"


def test_the_same_image_in_training_and_validation_is_refused(root):
    image(root, "c4").write_bytes(image(root, "c1").read_bytes())
    path = table(root, ["train,", "train,", "train,", "train,", "validation,", "validation,"])
    found = check(path)
    assert codes(found) == [("c1", "SET-DUPLICATE-IMAGE"), ("c4", "SET-LEAK")]
    assert found[1].refuses


def test_a_group_in_two_folds_is_refused(root):
    path = table(root, ["0,p", "1,p", "2,q", "2,r", "1,s", "0,t"], columns="fold,group")
    found = check(path)
    assert {f.code for f in found} == {"SET-LEAK"}
    assert all("'p'" in f.message for f in found)


def test_a_label_in_validation_only_is_told(root):
    for n in range(5):
        write_label(label(root, f"c{n}"), values=(1,))
    (found,) = check(table(root, ["train,"] * 5 + ["validation,"]))
    assert (found.code, found.numbers) == ("SET-ABSENT-TRAIN", {"value": 2})


def test_the_number_of_channels_is_checked(root):
    write_json(root / "labels.json", {"channels": ["T1", "T2"], "labels": {"one": 1, "two": 2}})
    write_image(image(root, "c0"), shape=(*SHAPE, 2))
    found = check(root)
    assert {f.case for f in found if f.refuses} == {f"c{n}" for n in range(1, 6)}
    assert {f.code for f in found} == {"IMG-CHANNELS"}


def test_channels_on_other_grids_are_refused(tmp_path):
    write_image(tmp_path / "images" / "a_0000.nii.gz")
    write_image(tmp_path / "images" / "a_0001.nii.gz", shape=(6, 5, 6))
    write_label(tmp_path / "labels" / "a.nii.gz")
    (found,) = check(tmp_path)
    assert (found.code, found.file, found.case) == ("GEO-MISMATCH", "a_0001.nii.gz", "a")


def test_what_was_left_out_is_told_first(root):
    touch(root / "images" / "notes.txt")
    assert [f.code for f in check(root)] == ["SET-NAME"]


def test_a_file_without_a_partner_hides_no_other_finding(root):
    touch(root / "images" / "alone.nii.gz")
    touch(image(root, "c1"), b"")
    dataset = find_dataset(root, accept=["SET-UNPAIRED", "IMG-CHANNELS"])
    found = list(check_dataset(dataset))
    assert [(f.code, f.refuses) for f in found] == [("SET-UNPAIRED", True), ("IO-EMPTY", True)]
    waived = list(check_dataset(dataset, accept=["SET-UNPAIRED"]))
    assert [(f.code, f.accepted) for f in waived] == [("SET-UNPAIRED", True), ("IO-EMPTY", False)]


def test_masks_of_0_and_255_are_labels_where_that_is_accepted(tmp_path):
    write_pairs(tmp_path, ["a"])
    write_label(label(tmp_path, "a"), values=(255,))
    dataset = find_dataset(tmp_path)
    with pytest.raises(Refused, match="LBL-255"):
        declare_labels(dataset)
    assert declare_labels(dataset, accept=["LBL-255"]).labels.structures == {"255": 255}


def test_labels_without_names_are_called_by_their_values(root):
    (root / "labels.json").unlink()
    write_label(label(root, "c3"), values=(1, 5))
    touch(label(root, "c4"), b"")
    dataset = declare_labels(find_dataset(root))
    assert dataset.labels is not None
    assert dataset.labels.structures == {"1": 1, "2": 2, "5": 5}
    assert declare_labels(dataset) is dataset
    assert {f.code for f in check_dataset(replace(dataset, labels=None))} == {"IO-EMPTY"}


def test_labels_cannot_be_declared_from_nothing(tmp_path):
    write_pairs(tmp_path, ["a"])
    write_label(label(tmp_path, "a"), values=())
    with pytest.raises(DatasetError, match="nothing but 0"):
        declare_labels(find_dataset(tmp_path))
    touch(label(tmp_path, "a"), b"")
    with pytest.raises(Refused, match="IO-EMPTY"):
        declare_labels(find_dataset(tmp_path))


def test_a_mask_of_0_and_255_gets_the_map_it_needs(root):
    for n in range(6):
        voxels = np.zeros(SHAPE, np.uint8)
        voxels[1:3] = 255
        write_nifti(label(root, f"c{n}"), voxels)
    found = [f for f in check(root) if f.refuses]
    assert codes(found) == [(f"c{n}", "LBL-255") for n in range(6)]
    assert "255" in found[0].advice


def test_a_check_can_be_left_early(root):
    touch(image(root, "c0"), b"")
    found = check_dataset(find_dataset(root))
    assert next(found).code == "IO-EMPTY"
    found.close()


def test_scans_are_checked_one_by_one(tmp_path):
    write_image(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes())
    touch(tmp_path / "c.nii.gz", b"")
    touch(tmp_path / "d" / "x.dcm")
    found = list(check_scans(find_scans(tmp_path)))
    assert codes(found) == [
        ("a", "SET-DUPLICATE-IMAGE"),
        ("c", "IO-EMPTY"),
        ("d", "IO-FORMAT"),
    ]


def test_scans_with_channels_in_one_file_are_sound(tmp_path):
    voxels = np.random.default_rng(0).normal(size=(9, 8, 7, 2)).astype("f4")
    write_nifti(tmp_path / "a.nii.gz", voxels)
    assert [f for f in check_scans(find_scans(tmp_path)) if f.refuses] == []
