import pytest

from tests.data.on_disk import touch, write_json
from volunet.data.layouts import find_dataset
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Refused

MSD = {
    "name": "Hippocampus",
    "tensorImageSize": "3D",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
    "numTraining": 2,
    "training": [
        {"image": f"./imagesTr/h_{n}.nii.gz", "label": f"./labelsTr/h_{n}.nii.gz"} for n in (3, 1)
    ],
    "test": ["./imagesTs/h_9.nii.gz"],
}
NNUNET = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumour": 2, "node": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def msd(root, **changes):
    for n in (1, 3):
        touch(root / "imagesTr" / f"h_{n}.nii.gz")
        touch(root / "imagesTr" / f"._h_{n}.nii.gz")
        touch(root / "labelsTr" / f"h_{n}.nii.gz")
    write_json(root / "dataset.json", MSD | changes)
    return root


def nnunet(root, **changes):
    for case in ("a", "b"):
        touch(root / "imagesTr" / f"{case}_0000.nii.gz")
        touch(root / "imagesTr" / f"{case}_0001.nii.gz")
        touch(root / "labelsTr" / f"{case}.nii.gz")
    write_json(root / "dataset.json", NNUNET | changes)
    return root


def test_the_decathlon_lists_its_cases(tmp_path):
    dataset = find_dataset(msd(tmp_path))
    assert dataset.layout == "msd"
    assert dataset.case_ids == ("h_1", "h_3")
    assert dataset.channels == ("MRI",)
    assert dataset.labels.structures == {"Anterior": 1, "Posterior": 2}


@pytest.mark.parametrize("make", [msd, nnunet])
def test_a_labels_json_beside_it_says_more(tmp_path, make):
    root = make(tmp_path)
    first = find_dataset(root).cases[0].case_id
    said = {"labels": {"one": 1, "two": 2}, "pairs": [["one", "two"]], "labelled": {first: ["one"]}}
    write_json(root / "labels.json", said)
    dataset = find_dataset(root)
    assert dataset.labels.pairs == (("one", "two"),)
    assert [case.labelled for case in dataset.cases] == [("one",), None]
    assert dataset.channels == find_dataset(make(tmp_path / "plain")).channels


def test_two_files_for_one_channel_of_an_older_task_are_refused(tmp_path):
    root = msd(tmp_path)
    for name in ("h_1.nii.gz",):
        (root / "imagesTr" / name).unlink()
    for name in ("h_1_0000.nii.gz", "h_1_0000.nii"):
        touch(root / "imagesTr" / name)
    with pytest.raises(Refused, match="SET-DUPLICATE-ID"):
        find_dataset(root)
    touch(root / "imagesTr" / "h_1_0000.png")
    (root / "imagesTr" / "h_1_0000.nii").unlink()
    assert find_dataset(root).cases[0].images[0].name == "h_1_0000.nii.gz"


def test_a_dataset_json_may_be_named_itself(tmp_path):
    assert find_dataset(msd(tmp_path) / "dataset.json").layout == "msd"


def test_the_decathlons_modalities_lie_in_one_file(tmp_path):
    names = {str(n): f"m{n}" for n in range(11)}
    dataset = find_dataset(msd(tmp_path, modality=names))
    assert dataset.channels == tuple(f"m{n}" for n in range(11))
    assert len(dataset.cases[0].images) == 1


def test_older_nnunet_tasks_have_one_file_a_channel(tmp_path):
    msd(tmp_path, modality={"0": "T1", "1": "T2"})
    for n in (1, 3):
        whole = tmp_path / "imagesTr" / f"h_{n}.nii.gz"
        whole.rename(tmp_path / "imagesTr" / f"h_{n}_0000.nii.gz")
        touch(tmp_path / "imagesTr" / f"h_{n}_0001.nii.gz")
    names = [p.name for p in find_dataset(tmp_path).case("h_3").images]
    assert names == ["h_3_0000.nii.gz", "h_3_0001.nii.gz"]


def test_a_listed_file_that_is_missing_is_refused_with_the_nearest_names(tmp_path):
    msd(tmp_path)
    (tmp_path / "labelsTr" / "h_3.nii.gz").unlink()
    with pytest.raises(Refused, match=r"'h_3\.nii\.gz' .* Nearest: 'h_1\.nii\.gz'") as e:
        find_dataset(tmp_path)
    assert [f.code for f in e.value.findings] == ["SET-UNPAIRED"]
    assert find_dataset(tmp_path, accept=["SET-UNPAIRED"]).case_ids == ("h_1",)


@pytest.mark.parametrize(
    "change",
    [
        {"training": [{"image": "a.nii.gz"}]},
        {"training": ["a.nii.gz"]},
        {"modality": {"1": "CT"}},
        {"modality": ["CT"]},
        {"labels": {"1": "x", "2": "x"}},
        {"labels": {"one": "x"}},
        {"labels": ["x"]},
    ],
)
def test_a_decathlon_file_that_makes_no_sense_is_told(tmp_path, change):
    with pytest.raises(ConfigError, match=r"dataset\.json"):
        find_dataset(msd(tmp_path, **change))


def test_nnunets_raw_folder_is_paired_by_channel(tmp_path):
    dataset = find_dataset(nnunet(tmp_path))
    assert dataset.layout == "nnunet"
    assert dataset.channels == ("CT", "PET")
    assert dataset.labels.structures == {"node": 1, "tumour": 2}
    assert [p.name for p in dataset.case("a").images] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_nnunets_regions_and_ignore_label_are_kept(tmp_path):
    said = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3], "ignore": 4}
    labels = find_dataset(nnunet(tmp_path, labels=said)).labels
    assert labels.structures == {"1": 1, "2": 2, "enhancing": 3}
    assert labels.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert labels.unions == {"whole": (1, 2, 3), "core": (2, 3)}
    assert labels.ignore == 4


@pytest.mark.parametrize("last", [3, [3]])
def test_nnunets_regions_can_be_learnt_in_their_order(tmp_path, last):
    said = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": last}
    order = {"labels": said, "regions_class_order": [1, 2, 3]}
    assert find_dataset(nnunet(tmp_path, **order)).labels.written == (1, 2, 3)
    order["regions_class_order"] = [1, 3, 2]
    with pytest.raises(ConfigError, match=r"is \[1, 3, 2\].* leave \[1, 2, 3\] to themselves"):
        find_dataset(nnunet(tmp_path, **order))
    order["labels"] = {"whole": [1, 2], "left": 1, "right": 2}  # which no mask can be made from
    assert not find_dataset(nnunet(tmp_path, **order)).labels.learns_regions


def test_nnunet_may_list_the_files_of_each_case(tmp_path):
    touch(tmp_path / "far" / "i0.nii.gz")
    touch(tmp_path / "far" / "i1.nii.gz")
    touch(tmp_path / "far" / "l.nii.gz")
    listed = {"p": {"images": ["far/i0.nii.gz", "far/i1.nii.gz"], "label": "far/l.nii.gz"}}
    write_json(tmp_path / "dataset.json", NNUNET | {"dataset": listed})
    dataset = find_dataset(tmp_path)
    assert dataset.case("p").files == tuple(
        tmp_path / "far" / f"{n}.nii.gz" for n in ("i0", "i1", "l")
    )


@pytest.mark.parametrize("name", ["", "..", "../p", "a/b", "a\\b", "a\n"])
def test_an_id_that_would_leave_the_folder_is_refused(tmp_path, name):
    touch(tmp_path / "i.nii.gz")
    touch(tmp_path / "l.nii.gz")
    listed = {name: {"images": ["i.nii.gz"], "label": "l.nii.gz"}}
    write_json(tmp_path / "dataset.json", NNUNET | {"dataset": listed})
    with pytest.raises(ConfigError, match="cannot be the name of a file"):
        find_dataset(tmp_path)


def test_an_image_without_its_channel_number_is_told_with_the_nearest(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "imagesTr" / "b_0001.nii.gz").rename(tmp_path / "imagesTr" / "b_1.nii.gz")
    with pytest.raises(Refused, match=r"'b_1\.nii\.gz' has no label map .* Nearest: 'b'") as e:
        find_dataset(tmp_path)
    assert {f.code for f in e.value.findings} == {"SET-UNPAIRED", "IMG-CHANNELS"}


def test_an_nnunet_folder_without_images_is_told(tmp_path):
    write_json(tmp_path / "dataset.json", NNUNET)
    with pytest.raises(DatasetError, match="no imagesTr"):
        find_dataset(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"x": "1"}},
        {"labels": {"x": []}},
        {"labels": {"x": True}},
        {"labels": {"x": 1, "y": 1}},
        {"labels": {"x": -1}},
        {"channel_names": {"0": 3}},
        {"dataset": {"a": {"images": []}}},
        {"dataset": 3},
    ],
)
def test_an_nnunet_file_that_makes_no_sense_is_told(tmp_path, change):
    with pytest.raises(ConfigError, match=r"dataset\.json"):
        find_dataset(nnunet(tmp_path, **change))


def test_train_folders_without_a_dataset_json_are_pairs(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "dataset.json").unlink()
    assert find_dataset(tmp_path).channels == ("image 0", "image 1")
