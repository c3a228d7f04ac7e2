"""What was drawn in a case, where not all was: a table or a labels.json says it."""

import numpy as np
import pytest

from tests.data.on_disk import write_image, write_json, write_label, write_pairs
from tests.training.tiny import PLAN as TINY
from volunet.data.cache import PreparedCases
from volunet.data.cases import Case
from volunet.data.drawn import drawn_classes, with_drawn
from volunet.data.layouts import find_dataset
from volunet.data.read_case import read_case
from volunet.data.survey import survey
from volunet.errors import ConfigError, DatasetError
from volunet.space.labels import Labels

NAMES = {"liver": 1, "spleen": 2}
LABELS = Labels(structures=NAMES)
PLAN = TINY.model_copy(update={"labels": LABELS})


def written(root, cell: str):
    """A table of two cases; `cell` says what was drawn in the first."""
    write_pairs(root, ["a", "b"])
    path = root / "table.csv"
    path.write_text(
        "case_id,image,label,labelled\n"
        f"a,images/a.nii.gz,labels/a.nii.gz,{cell}\n"
        "b,images/b.nii.gz,labels/b.nii.gz,\n"
    )
    return path


def test_a_table_says_what_was_drawn(tmp_path):
    write_json(tmp_path / "labels.json", {"labels": NAMES})
    first, second = find_dataset(written(tmp_path, "spleen")).cases
    assert first.labelled == ("spleen",)
    assert second.labelled is None


def test_all_by_name_is_all(tmp_path):
    write_json(tmp_path / "labels.json", {"labels": NAMES})
    assert find_dataset(written(tmp_path, "spleen; liver")).cases[0].labelled is None


def test_a_labels_json_says_it_for_folders_and_tables(tmp_path):
    write_json(tmp_path / "labels.json", {"labels": NAMES, "labelled": {"b": ["liver"]}})
    path = written(tmp_path, "spleen")
    assert [c.labelled for c in find_dataset(path).cases] == [("spleen",), ("liver",)]
    assert [c.labelled for c in find_dataset(tmp_path).cases] == [None, ("liver",)]


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"b": ["lever"]}, DatasetError, "names 'lever', which is no label. Nearest: 'liver'"),
        ({"b": "liver"}, ConfigError, "labelled is like"),
        (["liver"], ConfigError, "labelled is like"),
    ],
)
def test_what_makes_no_sense_in_a_labels_json_is_named(tmp_path, said, error, message):
    write_json(tmp_path / "labels.json", {"labels": NAMES, "labelled": said})
    write_pairs(tmp_path, ["a", "b"])
    with pytest.raises(error, match=message):
        find_dataset(tmp_path)


def test_a_name_that_is_no_case_here_is_a_warning(tmp_path):
    write_json(tmp_path / "labels.json", {"labels": NAMES, "labelled": {"bb": ["liver"]}})
    for dataset in (find_dataset(written(tmp_path, "")), find_dataset(tmp_path)):
        (found,) = dataset.findings
        assert (found.code, found.severity.value) == ("SET-LABELLED", "warn")
        assert "'bb', which is no case here. Nearest: 'b'" in found.message
        assert {case.labelled for case in dataset.cases} == {None}


def test_a_name_needs_declared_labels(tmp_path):
    with pytest.raises(DatasetError, match=r"table.csv, line 2: labelled .*Declare them"):
        find_dataset(written(tmp_path, "liver"))


def test_a_name_that_is_no_label_is_told_with_its_line(tmp_path):
    write_json(tmp_path / "labels.json", {"labels": NAMES})
    with pytest.raises(DatasetError, match=r"line 2: labelled names 'lever'.*Nearest: 'liver'"):
        find_dataset(written(tmp_path, "lever"))


def test_ids_are_compared_in_one_form(tmp_path):
    """A name typed on a Mac comes in two parts, and is the same name."""
    write_json(tmp_path / "labels.json", {"labels": NAMES, "labelled": {"a\u0308": ["liver"]}})
    case, labels = Case(case_id="\u00e4", images=(tmp_path,)), Labels(structures=NAMES)
    (told,), strange = with_drawn([case], {"a\u0308": ("liver",)}, labels)
    assert told.labelled == ("liver",)
    assert not strange


def a_case(tmp_path, labelled) -> Case:
    return Case(
        case_id="a",
        images=(write_image(tmp_path / "i.nii.gz"),),
        label=write_label(tmp_path / "l.nii.gz", (1, 2)),
        labelled=labelled,
    )


def test_classes_start_with_background(tmp_path):
    case = a_case(tmp_path, ("spleen",))
    np.testing.assert_array_equal(drawn_classes(case, LABELS), [True, False, True])
    assert drawn_classes(a_case(tmp_path, None), LABELS) is None


def test_a_map_that_holds_what_was_not_drawn_is_told(tmp_path):
    read = read_case(a_case(tmp_path, ("spleen",)), labels=LABELS)
    (found,) = [f for f in read.findings if f.code == "LBL-UNDRAWN"]
    assert found.case == "a"
    assert found.severity.value == "warn"
    assert "voxels of 'liver' (1)" in found.message
    whole = read_case(a_case(tmp_path, None), labels=LABELS)
    assert "LBL-UNDRAWN" not in {f.code for f in whole.findings}


def test_the_fingerprint_knows_no_volume_of_what_was_not_drawn(tmp_path):
    seen = survey([a_case(tmp_path, ("spleen",))], LABELS, 1)
    assert set(seen.fingerprint.cases["a"].volumes_ml) == {"spleen"}


def test_a_prepared_case_warns_by_what_is_said_now(tmp_path):
    cases = PreparedCases(tmp_path / "cache", PLAN)
    whole = cases.get(a_case(tmp_path, None))
    assert (whole.drawn, sorted(whole.foreground), whole.findings) == (None, [1, 2], ())
    part = PreparedCases(tmp_path / "cache", PLAN).get(a_case(tmp_path, ("spleen",)))
    assert list(part.drawn) == [True, False, True]
    assert list(part.foreground) == [2]
    assert [f.code for f in part.findings] == ["LBL-UNDRAWN"]
    assert PreparedCases(tmp_path / "cache", PLAN).get(a_case(tmp_path, None)).findings == ()
