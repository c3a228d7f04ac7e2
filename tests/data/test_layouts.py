import os
from pathlib import Path

import pytest

from tests.data.on_disk import touch, write_json
from volunet.data.layouts import find_dataset
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Refused
from volunet.space.labels import Labels

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMES = [
    "a b",
    "a.b.c",
    "-rf",
    "%s{}",
    "naïve 脳",
    "x" * 200,
    "patient_0001",
    "UPPER",
]


def folders(root, images, labels, suffix=".nii.gz"):
    for name in images:
        touch(root / "images" / f"{name}{suffix}")
    for name in labels:
        touch(root / "labels" / f"{name}{suffix}")
    return root


def codes(refused):
    return sorted({f.code for f in refused.value.findings})


def test_images_and_labels_with_equal_names_are_cases(tmp_path):
    dataset = find_dataset(folders(tmp_path, ["b", "a"], ["a", "b"]))
    assert dataset.layout == "folders"
    assert dataset.case_ids == ("a", "b")
    assert dataset.case("a").images == (tmp_path / "images" / "a.nii.gz",)
    assert dataset.case("a").label == tmp_path / "labels" / "a.nii.gz"
    assert dataset.case("a").group == "a"
    assert dataset.channels == ("image",)
    assert dataset.labels is None
    assert dataset.findings == ()


def test_a_picture_without_a_partner_among_volumes_is_left_out(tmp_path):
    folders(tmp_path, ["a", "b"], ["a", "b"])
    touch(tmp_path / "images" / "all.png")
    dataset = find_dataset(tmp_path)
    assert dataset.case_ids == ("a", "b")
    assert [(f.code, f.file) for f in dataset.findings] == [("SET-NAME", "all.png")]


def test_a_labels_json_names_channels_and_labels(tmp_path):
    folders(tmp_path, ["a"], ["a"])
    labels = {"right": 1, "left": 4}
    said = {"channels": ["CT"], "labels": labels, "pairs": [["right", "left"]], "ignore": 9}
    write_json(tmp_path / "labels.json", said)
    dataset = find_dataset(tmp_path)
    assert dataset.channels == ("CT",)
    assert dataset.labels == Labels(structures=labels, pairs=(("right", "left"),), ignore=9)
    given = Labels(structures={"mine": 1})
    assert find_dataset(tmp_path, labels=given).labels == given


@pytest.mark.parametrize("name", NAMES)
def test_any_stem_is_a_case_id(tmp_path, name):
    assert find_dataset(folders(tmp_path, [name], [name])).case_ids == (name,)


def test_a_stem_in_another_unicode_form_is_the_same_case(tmp_path):
    dataset = find_dataset(folders(tmp_path, ["cafe\u0301"], ["caf\u00e9"]))
    assert dataset.case_ids == ("caf\u00e9",)


def test_a_name_that_is_no_utf_8_becomes_an_id_that_can_be_written(tmp_path):
    folders(tmp_path, ["a"], ["a"])
    for folder in ("images", "labels"):
        (tmp_path / folder / "a.nii.gz").rename(
            tmp_path / folder / os.fsdecode(b"a\xff.nii.gz"),
        )
    assert find_dataset(tmp_path).case_ids == ("a\ufffd",)


def test_folders_may_be_nested_and_suffixes_may_differ(tmp_path):
    touch(tmp_path / "images" / "site1" / "a.mha")
    touch(tmp_path / "labels" / "site1" / "a.NII.GZ")
    touch(tmp_path / "images" / "site2" / "a.nii")
    touch(tmp_path / "labels" / "site2" / "a.nrrd")
    assert find_dataset(tmp_path).case_ids == ("site1__a", "site2__a")


def test_hidden_files_are_passed_over_and_other_names_are_told(tmp_path):
    folders(tmp_path, ["a", "._a"], ["a", ".DS_Store"])
    touch(tmp_path / "images" / "notes.txt")
    dataset = find_dataset(tmp_path)
    assert dataset.case_ids == ("a",)
    assert [(f.code, f.file) for f in dataset.findings] == [("SET-NAME", "notes.txt")]


def test_channels_are_found_by_their_numbers(tmp_path):
    folders(tmp_path, ["a_0000", "a_0001", "b_0001", "b_0000"], ["a", "b"])
    dataset = find_dataset(tmp_path)
    assert [p.name for p in dataset.case("b").images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert dataset.channels == ("image 0", "image 1")


def test_numbered_patients_are_not_taken_for_channels(tmp_path):
    names = [f"patient_{n:04d}" for n in range(3)]
    assert find_dataset(folders(tmp_path, names, names)).case_ids == tuple(names)


def test_a_missing_channel_is_refused_and_can_be_waived_by_leaving_the_case_out(tmp_path):
    folders(tmp_path, ["a_0000", "a_0001", "b_0000"], ["a", "b"])
    with pytest.raises(Refused, match="'b' has the channels 0000; 0000 to 0001 are needed") as e:
        find_dataset(tmp_path)
    assert codes(e) == ["IMG-CHANNELS"]
    dataset = find_dataset(tmp_path, accept=["IMG-CHANNELS"])
    assert dataset.case_ids == ("a",)
    assert dataset.findings[0].accepted


def test_a_file_that_says_it_is_one_channel_does_not_hold_them_all(tmp_path):
    folders(tmp_path, ["a_0000", "b"], ["a", "b"])
    write_json(tmp_path / "labels.json", {"channels": ["T1", "T2"], "labels": {"x": 1}})
    with pytest.raises(Refused) as e:
        find_dataset(tmp_path)
    assert [f.case for f in e.value.findings] == ["a"]


def test_unpaired_files_are_refused_with_the_nearest_names(tmp_path):
    folders(tmp_path, ["case_01", "case_02", "case_03"], ["case_01", "case_2"])
    with pytest.raises(Refused, match=r"Nearest: 'case_2', 'case_01'") as e:
        find_dataset(tmp_path)
    assert codes(e) == ["SET-UNPAIRED"]
    files = sorted(f.file for f in e.value.findings)
    assert files == ["case_02.nii.gz", "case_03.nii.gz", "case_2.nii.gz"]
    dataset = find_dataset(tmp_path, accept=["SET-UNPAIRED"])
    assert dataset.case_ids == ("case_01",)
    assert len(dataset.findings) == 3


def test_many_unpaired_files_are_told_quickly(tmp_path):
    names = [f"case_{n:04d}" for n in range(1500)]
    folders(tmp_path, names, [f"{n}_seg" for n in names])
    with pytest.raises(Refused) as e:
        find_dataset(tmp_path)
    assert len(e.value.findings) == 3000


@pytest.mark.parametrize(
    ("first", "second"),
    [("a.nii", "a.nii.gz"), ("caf\u00e9.nii", "cafe\u0301.nii"), ("A.nii", "a.nii")],
    ids=["two suffixes", "two unicode forms", "two cases of letters"],
)
def test_files_with_one_id_are_refused_whatever_is_accepted(tmp_path, first, second):
    for folder in ("images", "labels"):
        touch(tmp_path / folder / first)
        touch(tmp_path / folder / second)
    with pytest.raises(Refused) as e:
        find_dataset(tmp_path, accept=["SET-DUPLICATE-ID"])
    assert codes(e) == ["SET-DUPLICATE-ID"]


def test_an_image_that_is_there_whole_and_by_channel_is_refused(tmp_path):
    folders(tmp_path, ["a", "a_0000"], ["a"])
    with pytest.raises(Refused) as e:
        find_dataset(tmp_path)
    assert codes(e) == ["SET-DUPLICATE-ID"]


def test_ids_that_folders_make_equal_are_refused(tmp_path):
    for folder in ("images", "labels"):
        touch(tmp_path / folder / "a" / "b.nii")
        touch(tmp_path / folder / "a__b.nii")
    with pytest.raises(Refused) as e:
        find_dataset(tmp_path)
    assert codes(e) == ["SET-DUPLICATE-ID"]


def test_a_dataset_without_cases_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(Refused, match="no case with an image and a label map"):
        find_dataset(tmp_path)


def test_what_is_no_dataset_says_what_is(tmp_path):
    with pytest.raises(DatasetError, match="is not there"):
        find_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"it is empty\. Give a folder with images/ and labels/"):
        find_dataset(tmp_path)
    touch(tmp_path / "scan.nii.gz")
    with pytest.raises(DatasetError, match=r"it has 'scan.nii.gz'"):
        find_dataset(tmp_path)
    with pytest.raises(DatasetError, match="single file"):
        find_dataset(tmp_path / "scan.nii.gz")
    touch(tmp_path / "cases.csv")
    with pytest.raises(DatasetError, match=r"To use the table, name it: .*cases\.csv"):
        find_dataset(tmp_path)


def test_a_table_beside_the_folders_is_not_taken_for_the_dataset(tmp_path):
    folders(tmp_path, ["a"], ["a"])
    (tmp_path / "cases.csv").write_text("case,age\na,3\n")
    assert find_dataset(tmp_path).layout == "folders"


@pytest.mark.parametrize("channels", [["CT", "CT"], "CT", [1], [""]])
def test_channels_that_are_no_names_are_told(tmp_path, channels):
    folders(tmp_path, ["a"], ["a"])
    write_json(tmp_path / "labels.json", {"channels": channels, "labels": {"x": 1}})
    with pytest.raises(ConfigError, match=r"labels\.json"):
        find_dataset(tmp_path)


def test_an_unknown_case_is_told_with_the_nearest(tmp_path):
    dataset = find_dataset(folders(tmp_path, ["ct_1", "ct_2"], ["ct_1", "ct_2"]))
    with pytest.raises(DatasetError, match=r"No case is called 'ct_3'\. Nearest: 'ct_1', 'ct_2'"):
        dataset.case("ct_3")


def test_links_are_followed_once(tmp_path):
    folders(tmp_path / "elsewhere", ["a"], ["a"])
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "site").symlink_to(tmp_path / "elsewhere" / folder)
        (tmp_path / folder / "loop").symlink_to(tmp_path / folder)
    assert find_dataset(tmp_path).case_ids == ("site__a",)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the scans beside the project")
@pytest.mark.parametrize(
    ("name", "count"), [("hippocampus", 200), ("head_neck_ct", 115), ("sarcoma_pet", 36)]
)
def test_real_folders_are_read_as_pairs(name, count):
    dataset = find_dataset(SHARED / name)
    assert (dataset.layout, len(dataset.cases), dataset.findings) == ("folders", count, ())
