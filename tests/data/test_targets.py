"""Datasets with targets in place of labels are found by their content."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from tests.data.on_disk import (
    touch,
    write_aimed,
    write_json,
)
from volunet.data.layouts import find_dataset, is_dataset
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Refused
from volunet.space.labels import Labels

NO_LABELS = Labels(structures={})


def codes(refused):
    return [f.code for f in refused.value.findings]


def test_images_and_targets_with_equal_names_are_cases(tmp_path):
    for folder, name in (("images", "b"), ("images", "a"), ("targets", "a"), ("targets", "b")):
        touch(tmp_path / folder / f"{name}.nii.gz")
    assert is_dataset(tmp_path)
    dataset = find_dataset(tmp_path)
    assert (dataset.layout, dataset.case_ids) == ("folders", ("a", "b"))
    assert dataset.case("a").target == tmp_path / "targets" / "a.nii.gz"
    assert dataset.case("a").label is None
    assert dataset.case("a").files == tuple(
        tmp_path / folder / "a.nii.gz" for folder in ("images", "targets")
    )
    assert (dataset.channels, dataset.targets) == (("image",), ("target",))
    assert (dataset.labels, dataset.findings) == (NO_LABELS, ())


def test_a_labels_json_names_channels_and_targets(tmp_path):
    for folder in ("images", "targets"):
        touch(tmp_path / folder / "a.nii.gz")
    write_json(tmp_path / "labels.json", {"channels": ["CBCT"], "targets": ["CT", "dose"]})
    dataset = find_dataset(tmp_path)
    assert (dataset.channels, dataset.targets) == (("CBCT",), ("CT", "dose"))


@pytest.mark.parametrize("names", ["CT", ["CT", "CT"], [""], [1], {"CT": 1}])
def test_names_of_targets_are_a_list_of_different_names(tmp_path, names):
    for folder in ("images", "targets"):
        touch(tmp_path / folder / "a.nii.gz")
    write_json(tmp_path / "labels.json", {"targets": names})
    with pytest.raises(ConfigError, match=r"labels\.json: .*targets"):
        find_dataset(tmp_path)


def test_targets_in_colours_have_three_names(tmp_path):
    for folder, side in (("images", 4), ("targets", 8)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / folder / "a.png")
    dataset = find_dataset(tmp_path)
    assert dataset.channels == dataset.targets == ("red", "green", "blue")


def test_unpaired_files_are_refused_with_the_nearest_names_and_can_be_waived(tmp_path):
    for folder, name in (
        *(("images", n) for n in ("case_01", "case_02")),
        *(("targets", n) for n in ("case_01", "case_2")),
    ):
        touch(tmp_path / folder / f"{name}.nii.gz")
    with pytest.raises(Refused, match=r"has no target of its name\. Nearest: 'case_2'") as e:
        find_dataset(tmp_path)
    assert codes(e) == ["SET-UNPAIRED"] * 2
    assert "The target 'case_2.nii.gz' has no image of its name" in str(e.value)
    dataset = find_dataset(tmp_path, accept=["SET-UNPAIRED"])
    assert dataset.case_ids == ("case_01",)


def test_targets_without_images_are_no_case(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "targets").mkdir()
    with pytest.raises(Refused, match="no case with an image and a label map or target"):
        find_dataset(tmp_path)


def test_channels_of_images_are_found_by_their_numbers_and_targets_are_one_file(tmp_path):
    for name in ("images/a_0000", "images/a_0001", "targets/a"):
        touch(tmp_path / f"{name}.nii.gz")
    dataset = find_dataset(tmp_path)
    assert [p.name for p in dataset.case("a").images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert dataset.channels == ("image 0", "image 1")
    assert dataset.case("a").target.name == "a.nii.gz"


def test_labels_beside_targets_are_refused_with_advice(tmp_path):
    for folder in ("images", "labels", "targets"):
        touch(tmp_path / folder / "a.nii.gz")
    with pytest.raises(DatasetError, match=r"holds labels/ and targets/.*move the other folder"):
        find_dataset(tmp_path)


def write_table(tmp_path, header: str, *rows: str):
    path = tmp_path / "cases.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


def test_a_table_may_list_targets(tmp_path):
    write_aimed(tmp_path, "ab")
    rows = [f"{n},images/{n}.nii.gz,targets/{n}.nii.gz,g,{s}" for n, s in
            (("a", "train"), ("b", "validation"))]  # fmt: skip
    path = write_table(tmp_path, "case_id,image:CBCT,target,group,split", *rows)
    dataset = find_dataset(path)
    assert (dataset.layout, dataset.labels) == ("csv", NO_LABELS)
    assert (dataset.channels, dataset.targets) == (("CBCT",), ("target",))
    one = dataset.case("b")
    assert (one.target, one.label) == (tmp_path / "targets" / "b.nii.gz", None)
    assert (one.group, one.split) == ("g", "validation")
    write_json(tmp_path / "labels.json", {"targets": ["CT"]})
    assert find_dataset(path).targets == ("CT",)


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        ("case_id,image,label,target", "a,a,b,c", "columns ['label', 'target']. A model learns"),
        ("case_id,image", "a,a", "has no column 'label'"),
        ("case_id,image,target", "a,a,", "'target' is empty"),
        ("case_id,image,targets", "a,a,b", "'targets' that volunet does not know. Did you mean"),
    ],
)
def test_a_table_with_a_mistake_about_targets_is_refused(tmp_path, header, row, says):
    with pytest.raises(DatasetError, match=re.escape(says)):
        find_dataset(write_table(tmp_path, header, row))


def test_a_listed_target_that_is_not_there_is_refused(tmp_path):
    write_aimed(tmp_path, "a")
    path = write_table(tmp_path, "case_id,image,target", "a,images/a.nii.gz,targets/b.nii.gz")
    with pytest.raises(Refused, match=r"'b\.nii\.gz' of case 'a' is listed but not") as e:
        find_dataset(path)
    assert codes(e) == ["SET-UNPAIRED"]


MINE = Labels(structures={"mine": 1})


def test_labels_in_a_recipe_do_not_go_with_targets_in_folders(tmp_path):
    with pytest.raises(ConfigError, match=r"recipe declares labels.*have targets"):
        find_dataset(write_aimed(tmp_path, "a"), labels=MINE)
    assert find_dataset(tmp_path, labels=NO_LABELS).targets == ("target",)


def test_labels_in_a_recipe_do_not_go_with_targets_in_a_table(tmp_path):
    write_aimed(tmp_path, "a")
    path = write_table(tmp_path, "case_id,image,target", "a,images/a.nii.gz,targets/a.nii.gz")
    with pytest.raises(ConfigError, match="recipe declares labels"):
        find_dataset(path, labels=MINE)
