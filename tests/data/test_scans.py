import os

import pytest

from tests.data.on_disk import META, pipe_at, touch, write_image
from volunet.data.layouts import find_dataset
from volunet.data.scans import find_scans
from volunet.errors import DatasetError
from volunet.findings import Refused


def named(root, *names):
    for name in names:
        touch(root / name)
    return root


def ids(scans):
    return [scan.case_id for scan in scans]


def test_a_file_is_one_scan(tmp_path):
    (scan,) = find_scans(touch(tmp_path / "-a.b {}.nii.gz"))
    assert (scan.case_id, scan.refused) == ("-a.b {}", False)
    assert scan.images == (tmp_path / "-a.b {}.nii.gz",)


def test_the_id_of_a_nested_scan_is_its_path(tmp_path):
    scans = find_scans(named(tmp_path, "b.mha", "site 1/x/a.nii", "site 1/y/a.nrrd", ".hidden.nii"))
    assert ids(scans) == ["b", "site 1__x__a", "site 1__y__a"]


def test_side_files_are_no_inputs(tmp_path):
    named(tmp_path, "a.nii.gz", "a.json", "README.md", "cases.csv", "c.mhd", "c.raw", "c.zraw")
    assert ids(find_scans(tmp_path)) == ["a", "c"]


@pytest.mark.parametrize("view", ["a.png", "a_axial.tif", "b-1.TIFF", "b.top.bmp", "a 2.jpeg"])
def test_pictures_named_after_a_volume_beside_are_side_files_and_that_is_told(
    tmp_path, view, caplog
):
    named(tmp_path, "images/a.nii.gz", "images/b.nii.gz", f"images/{view}")
    assert ids(find_scans(tmp_path)) == ["images__a", "images__b"]
    assert f"passed over: 1, such as '{view}'." in caplog.text


def test_pictures_beside_volumes_by_channel_change_no_name(tmp_path, caplog):
    named(tmp_path, "c1_0000.nii.gz", "c1_0001.nii.gz", "c2_0000.nii.gz", "c2_0001.nii.gz")
    named(
        tmp_path, "c1.png", "c2_top.png", "montage.png", "overview.png", "key.png", "x.png", "y.png"
    )
    found = find_scans(tmp_path, channels=2)
    assert {"c1", "c2"} < {*ids(found)}
    assert [len(scan.images) for scan in found if scan.case_id in ("c1", "c2")] == [2, 2]
    assert "passed over: 2, such as 'c1.png'." in caplog.text


def test_a_stray_volume_takes_no_picture_away(tmp_path):
    named(tmp_path, "1.png", "10.png", "atlas.nii.gz", "1/1.nii.gz", "1/10.png", "views/atlas.png")
    found = ["1", "10", "1__1", "1__10", "atlas", "views__atlas"]
    assert ids(find_scans(tmp_path)) == sorted(found)


def test_what_is_no_scan_becomes_a_refused_entry(tmp_path):
    named(tmp_path, "a.nii.gz", "b.img", "c.nii.zip")
    scans = find_scans(tmp_path)
    assert [(s.case_id, s.refused) for s in scans] == [
        ("a", False),
        ("b.img", True),
        ("c.nii.zip", True),
    ]
    assert scans[1].findings[0].code == "IO-FORMAT"
    assert scans[1].findings[0].case == "b.img"


def test_a_pipe_without_a_known_suffix_is_a_refused_entry(tmp_path):
    write_image(tmp_path / "a.nii.gz")
    with pipe_at(tmp_path / "tap"), pipe_at(tmp_path / "last night" / "journal.jsonl"):
        scans = find_scans(tmp_path)
    found = {scan.case_id: scan.refused for scan in scans}
    assert found == {"a": False, "last night__journal.jsonl": True, "tap": True}


def test_a_pipe_that_is_given_itself_is_told_as_one(tmp_path):
    with pipe_at(tmp_path / "a.nii"), pytest.raises(DatasetError, match="a device or a pipe"):
        find_scans(tmp_path / "a.nii")
    with pytest.raises(DatasetError, match="is not there"):
        find_scans(tmp_path / "b.nii")


def test_a_scan_without_a_known_suffix_is_known_by_its_bytes(tmp_path):
    written = write_image(tmp_path / "a.nii.gz")
    written.rename(tmp_path / "scan")
    (scan,) = find_scans(tmp_path)
    assert (scan.case_id, scan.refused) == ("scan", False)


def test_a_folder_of_dicom_files_is_one_refused_entry(tmp_path):
    for n in range(3):
        touch(tmp_path / "p1" / "ct" / f"IM{n}", bytes(128) + b"DICM")
    touch(tmp_path / "p2.nii")
    touch(tmp_path / "x.dcm")
    scans = find_scans(tmp_path)
    assert ids(scans) == ["p1__ct", "p2", tmp_path.name]
    found = scans[0].findings[0]
    assert (found.code, found.numbers) == ("IO-FORMAT", {"files": 3})
    assert "not yet read" in found.message
    assert "dcm2niix" in found.advice
    assert "exit code 0" in found.advice
    assert "number of slices and their spacing must be the scanner's" in found.advice


def test_a_folder_in_nnunets_naming_is_taken_as_channels(tmp_path):
    named(tmp_path, *(f"{c}_000{n}.nii.gz" for c in ("a", "b") for n in (1, 0)))
    for channels in (None, 2):
        scans = find_scans(tmp_path, channels=channels)
        assert ids(scans) == ["a", "b"]
        assert [p.name for p in scans[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert ids(find_scans(tmp_path, channels=1)) == ["a_0000", "a_0001", "b_0000", "b_0001"]


def test_one_channel_in_nnunets_naming_loses_its_number(tmp_path):
    named(tmp_path, "a_0000.nii.gz", "b_0000.nii.gz", "c.nii.gz")
    for channels in (None, 1):
        assert ids(find_scans(tmp_path, channels=channels)) == ["a", "b", "c"]


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_numbered_patients_are_not_channels(tmp_path, channels):
    named(tmp_path, *(f"patient_{n:04d}.nii.gz" for n in range(1, 6)))
    assert len(find_scans(tmp_path, channels=channels)) == 5


def test_patients_numbered_from_zero_are_told_from_channels_by_the_model(tmp_path):
    named(tmp_path, *(f"patient_{n:04d}.nii.gz" for n in range(6)))
    assert len(find_scans(tmp_path, channels=1)) == 6
    assert len(find_scans(tmp_path, channels=6)) == 1


def test_a_case_that_lacks_a_channel_or_its_number_is_refused_with_its_entry(tmp_path):
    named(tmp_path, "a_0000.nii", "a_0001.nii", "b_0001.nii", "c.nii", "d_0000.nii", "d_0001.nii")
    scans = find_scans(tmp_path)
    assert [(s.case_id, s.refused) for s in scans] == [
        ("a", False),
        ("b", True),
        ("c", True),
        ("d", False),
    ]
    assert {f.code for s in scans for f in s.findings} == {"IMG-CHANNELS"}
    assert "Nearest: 'a_0000'" in scans[2].findings[0].message
    assert "<case>_0000 to <case>_0001" in scans[2].findings[0].advice


def test_a_case_with_one_channel_too_many_does_not_change_the_others(tmp_path):
    named(tmp_path, *(f"{c}_0000.nii" for c in "abcd"), "a_0001.nii")
    scans = find_scans(tmp_path, channels=1)
    assert [(s.case_id, s.refused) for s in scans] == [
        ("a", True),
        ("b", False),
        ("c", False),
        ("d", False),
    ]


def test_every_file_is_in_one_entry(tmp_path):
    names = ["a_0000.nii", "a_0000.nii.gz", "b_0000.nii", "c.img", "d/e_0003.nii", "d/f.nii"]
    named(tmp_path, *names[:1], *names[2:])
    files = [p.relative_to(tmp_path).as_posix() for s in find_scans(tmp_path) for p in s.images]
    assert sorted(files) == sorted([*names[:1], *names[2:]])


@pytest.mark.parametrize(
    "pair", [("a.nii", "a.nii.gz"), ("A.nii", "a.mha"), ("a__b.nii", "a/b.nii")]
)
def test_two_inputs_with_one_id_are_refused(tmp_path, pair):
    with pytest.raises(Refused) as e:
        find_scans(named(tmp_path, *pair))
    assert [f.code for f in e.value.findings] == ["SET-DUPLICATE-ID"]


def test_two_files_for_one_channel_are_refused(tmp_path):
    with pytest.raises(Refused):
        find_scans(named(tmp_path / "alone", "a_0000.nii", "a_0000.nii.gz"))
    for channels in (1, 2):
        folder = named(tmp_path / f"{channels}", "a_0000.nii", "a_0000.nii.gz", "b_0000.nii.gz")
        with pytest.raises(Refused, match=r"'a_0000\.nii' and .* would be one channel"):
            find_scans(folder, channels=channels)


def test_voxels_that_lie_beside_a_header_under_another_name_are_no_scan(tmp_path):
    head = META.replace(b"a.raw", b"voxels of a.RAW")
    touch(tmp_path / "a.mhd", head)
    touch(tmp_path / "voxels of a.RAW")
    assert ids(find_scans(tmp_path)) == ["a"]


def test_a_table_lists_scans(tmp_path):
    named(tmp_path, "x.nii", "y.nii")
    text = "case_id,image:T1,image:T2\np1,x.nii,y.nii\np2,x.nii,gone.nii\n"
    (tmp_path / "scans.csv").write_text(text)
    first, second = find_scans(tmp_path / "scans.csv")
    assert (first.case_id, len(first.images), first.refused) == ("p1", 2, False)
    assert [(f.code, f.file) for f in second.findings] == [("IO-MISSING", "gone.nii")]
    assert second.refused


def test_the_channels_of_a_table_go_as_the_model_has_them(tmp_path):
    named(tmp_path, "x.nii", "y.nii")
    (tmp_path / "scans.csv").write_text("case_id,image:T2,image:T1\np1,x.nii,y.nii\n")
    (scan,) = find_scans(tmp_path / "scans.csv", channels=2, names=("T1", "T2"))
    assert [path.name for path in scan.images] == ["y.nii", "x.nii"]
    with pytest.raises(DatasetError, match=r"Name the columns image:T1, image:FLAIR\."):
        find_scans(tmp_path / "scans.csv", channels=2, names=("T1", "FLAIR"))
    (tmp_path / "plain.csv").write_text("case_id,image\np1,x.nii\n")
    (scan,) = find_scans(tmp_path / "plain.csv", channels=1, names=("T1",))
    assert [path.name for path in scan.images] == ["x.nii"]


def test_results_of_another_night_are_no_scans(tmp_path, caplog):
    named(tmp_path, "a.nii.gz", "monday/a.nii.gz", "other/b.nii.gz")
    done = '{"format": 1}\n{"case_id": "a", "status": "ok", "output": "a.nii.gz"}\n'
    (tmp_path / "monday" / "journal.jsonl").write_text(done)
    (tmp_path / "other" / "journal.jsonl").write_text("my own notes\n")
    assert "a" in ids(find_scans(tmp_path))
    assert not [name for name in ids(find_scans(tmp_path)) if name.startswith("monday")]
    assert "other__b" in ids(find_scans(tmp_path))
    assert "monday" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list all folders")
def test_a_folder_that_cannot_be_listed_is_a_refused_entry(tmp_path):
    named(tmp_path, "a.nii.gz", "lost/b.nii.gz")
    (tmp_path / "lost").chmod(0)
    assert [(s.case_id, s.refused) for s in find_scans(tmp_path)] == [("a", False), ("lost", True)]


def test_a_dataset_is_not_taken_for_scans(tmp_path):
    named(tmp_path, "images/a.nii", "labels/a.nii")
    with pytest.raises(DatasetError, match=r"For its scans alone give .*images"):
        find_scans(tmp_path)
    named(tmp_path / "aims", "images/a.nii", "targets/a.nii")
    with pytest.raises(DatasetError, match=r"is a dataset, with targets/ beside its scans"):
        find_scans(tmp_path / "aims")
    assert find_dataset(tmp_path).case_ids == tuple(ids(find_scans(tmp_path / "images")))


def test_nothing_to_segment_is_told(tmp_path):
    with pytest.raises(DatasetError, match="is not there"):
        find_scans(tmp_path / "x")
    with pytest.raises(DatasetError, match="holds no scan"):
        find_scans(named(tmp_path, "notes.txt"))
