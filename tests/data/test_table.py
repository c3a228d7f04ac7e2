import pytest

from tests.data.on_disk import touch, write_json
from volunet.api.planning import open_dataset
from volunet.data.layouts import find_dataset
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Refused
from volunet.recipe import Recipe


def table(root, text, files=("a", "b", "la", "lb"), **how):
    for name in files:
        touch(root / "scans" / f"{name}.nii.gz")
    (root / "list.csv").write_bytes(text.encode(**how))
    return root / "list.csv"


PLAIN = "case_id,image,label\na,scans/a.nii.gz,scans/la.nii.gz\n"


def test_a_table_lists_its_cases_relative_to_itself(tmp_path):
    text = (
        "case_id,image,image:PET,label,group,split,fold,labelled\n"
        "b,scans/b.nii.gz,scans/a.nii.gz,scans/lb.nii.gz,p1,validation,2,liver; kidney\n"
        "\n"
        '"a, 1",scans/a.nii.gz,scans/b.nii.gz,scans/la.nii.gz,,train,0\n'
    )
    write_json(
        tmp_path / "labels.json",
        {"channels": ["CT", "PET"], "labels": {"liver": 1, "kidney": 2}},
    )
    dataset = find_dataset(table(tmp_path, text))
    assert dataset.layout == "csv"
    assert dataset.root == tmp_path
    assert dataset.channels == ("CT", "PET")
    assert dataset.case_ids == ("a, 1", "b")
    first, second = dataset.cases
    assert (first.group, first.split, first.fold) == ("a, 1", "train", 0)
    assert (second.group, second.split, second.fold) == ("p1", "validation", 2)
    assert [p.name for p in second.images] == ["b.nii.gz", "a.nii.gz"]
    assert (first.labelled, second.labelled) == (None, None)


def test_channels_are_called_by_their_columns(tmp_path):
    text = "case_id,image:T1,image:T2,label\na,scans/a.nii.gz,scans/b.nii.gz,scans/la.nii.gz\n"
    assert find_dataset(table(tmp_path, text)).channels == ("T1", "T2")


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path):
    text = PLAIN.replace("\n", "\r\n")
    assert find_dataset(table(tmp_path, text, encoding="utf-8-sig")).case_ids == ("a",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case,image,label\n", r"a column 'case' that volunet does not know\. Did you mean 'case_"),
        (PLAIN.replace("label\n", "label,age\n"), "a column 'age' that volunet does not know"),
        (PLAIN.replace("image", "image:"), "a column 'image:'"),
        ("case_id,image\na,scans/a.nii.gz\n", "no column 'label'"),
        ("case_id,label\na,scans/la.nii.gz\n", "no column 'image'"),
        (PLAIN.replace("image", "label"), "more than once"),
        (PLAIN.replace(",", ";"), "not separated by commas"),
        ("case_id,image,label\n", "no rows"),
        ("", "no column 'case_id'"),
        (PLAIN + "b,scans/b.nii.gz\n", "line 3: 'label' is empty"),
        (PLAIN + "b,x,y,z\n", "line 3: 4 cells for 3 columns"),
        (PLAIN + '"b,x,y\n', "cannot be read as a table"),
        (PLAIN.replace("\na,", "\na/b,"), "cannot be the name of a file"),
        (PLAIN.replace("\na,", "\n..,"), "cannot be the name of a file"),
        (PLAIN.replace("\na,", '\n"a\tb",'), "cannot be the name of a file"),
    ],
)
def test_a_mistake_in_a_table_is_named(tmp_path, text, said):
    with pytest.raises(DatasetError, match=said):
        find_dataset(table(tmp_path, text))


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("split", "val", "line 2: split is 'train' or 'validation', got 'val'"),
        ("fold", "-1", "line 2: fold is a whole number"),
        ("fold", "²", "line 2: fold is a whole number"),
        ("labelled", "lung", "line 2: labelled names 'lung', which is no label"),
    ],
)
def test_a_cell_that_makes_no_sense_is_named(tmp_path, column, cell, said):
    write_json(tmp_path / "labels.json", {"labels": {"liver": 1}})
    text = PLAIN.replace("label\n", f"label,{column}\n").replace("la.nii.gz\n", f"la.nii.gz,{cell}")
    with pytest.raises(DatasetError, match=said):
        find_dataset(table(tmp_path, text))


def test_a_table_in_another_encoding_is_told(tmp_path):
    with pytest.raises(DatasetError, match="Save it as CSV in UTF-8"):
        find_dataset(table(tmp_path, PLAIN.replace("\na", "\né"), encoding="latin-1"))


def test_a_table_and_a_labels_json_that_disagree_on_channels_are_told(tmp_path):
    write_json(tmp_path / "labels.json", {"channels": ["T1", "T2", "T3"], "labels": {"x": 1}})
    text = "case_id,image:T1,image:T2,label\na,scans/a.nii.gz,scans/b.nii.gz,scans/la.nii.gz\n"
    with pytest.raises(DatasetError, match=r"labels\.json's channels are T1, T2, T3"):
        find_dataset(table(tmp_path, text))


def test_columns_that_name_their_channels_are_brought_into_the_order_of_labels_json(tmp_path):
    write_json(tmp_path / "labels.json", {"channels": ["T2", "T1"], "labels": {"x": 1}})
    text = "case_id,image:T1,image:T2,label\na,scans/a.nii.gz,scans/b.nii.gz,scans/la.nii.gz\n"
    dataset = find_dataset(table(tmp_path, text))
    assert dataset.channels == ("T2", "T1")
    assert [path.name for path in dataset.cases[0].images] == ["b.nii.gz", "a.nii.gz"]
    for channels in (("T1", "T2"), ("T1", "FLAIR")):
        with pytest.raises(ConfigError, match="in another order"):
            open_dataset(tmp_path / "list.csv", Recipe(channels=channels))
    assert open_dataset(tmp_path / "list.csv", Recipe(channels=("A", "B"))).channels == ("A", "B")


def test_files_of_a_table_that_are_missing_are_refused_with_the_nearest_names(tmp_path):
    text = PLAIN + "b,scans/bb.nii.gz,scans/lb.nii.gz\n"
    with pytest.raises(Refused, match=r"'bb\.nii\.gz' .* Nearest: 'b\.nii\.gz'") as e:
        find_dataset(table(tmp_path, text))
    assert [f.code for f in e.value.findings] == ["SET-UNPAIRED"]
    assert find_dataset(tmp_path / "list.csv", accept=["SET-UNPAIRED"]).case_ids == ("a",)


@pytest.mark.parametrize("second", ["a", "A"])
def test_an_id_in_two_rows_is_refused(tmp_path, second):
    text = PLAIN + f"{second},scans/b.nii.gz,scans/lb.nii.gz\n"
    with pytest.raises(Refused, match=r"'list\.csv, line 2' and 'list\.csv, line 3'") as e:
        find_dataset(table(tmp_path, text))
    assert {f.code for f in e.value.findings} == {"SET-DUPLICATE-ID"}
