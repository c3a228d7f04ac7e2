import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.data.on_disk import (
    SHAPE,
    touch,
    write_detached,
    write_image,
    write_json,
    write_nifti,
    write_pairs,
)
from volunet.data.cache import PreparedCases
from volunet.data.cases import Case
from volunet.data.foreground import MOST_SAMPLES, sample_foreground
from volunet.data.layouts import find_dataset
from volunet.data.read_case import read_case
from volunet.data.room import prepared_bytes
from volunet.errors import Stopped, WriteError
from volunet.findings import Refused
from volunet.io.user_cache import UNREAD_DAYS
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.space.labels import Labels
from volunet.space.resample import resample_labels

LABELS = Labels(structures={"one": 1, "two": 2})


def plan_for(labels=LABELS, **changes):
    values = {
        "channels": ("CT",),
        "labels": labels,
        "spacing": (2.0, 2.0, 2.0),
        "patch": (4, 4, 4),
        "intensities": (Intensity(scheme="image"),),
        "features": (4, 8),
        "strides": ((2, 2, 2),),
        "kernels": ((3, 3, 3), (3, 3, 3)),
        "batch": 1,
    }
    return Plan(**(values | changes))


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "set"
    write_json(root / "labels.json", {"channels": ["CT"], "labels": {"one": 1, "two": 2}})
    return find_dataset(write_pairs(root, ["a", "b", "c"]))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def equal(first, second):
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.label, second.label)
        and first.foreground.keys() == second.foreground.keys()
        and all(np.array_equal(v, second.foreground[c]) for c, v in first.foreground.items())
    )


def test_a_prepared_case_is_the_plans_image_and_the_label_on_its_grid(dataset, folder):
    case, plan = dataset.case("a"), plan_for()
    prepared = PreparedCases(folder, plan).get(case)
    read = read_case(case, channels=1, labels=LABELS)
    image = plan.prepare(read.image)
    label = resample_labels(read.label.reoriented("RAS"), image.grid)
    assert prepared.case_id == "a"
    assert prepared.grid.matches(image.grid)
    assert prepared.grid.spacing == pytest.approx((2, 2, 2))
    np.testing.assert_array_equal(prepared.image, image.voxels)
    np.testing.assert_array_equal(prepared.label, label.voxels[0])
    assert (prepared.image.dtype, prepared.label.dtype) == (np.float32, np.uint8)
    assert set(prepared.foreground) == set(np.unique(prepared.label)) - {0} != set()
    for structure, voxels in prepared.foreground.items():
        assert (prepared.label[tuple(voxels.T)] == structure).all()
        assert len(voxels) == (prepared.label == structure).sum()


def test_arrays_are_mapped_and_read_only(dataset, folder):
    prepared = PreparedCases(folder, plan_for()).get(dataset.case("a"))
    for array in (prepared.image, prepared.label):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_a_case_is_prepared_once(dataset, folder):
    case = dataset.case("a")
    first = PreparedCases(folder, plan_for())
    prepared = first.get(case)
    assert first.get(case) is prepared
    written = first.path_of(case).stat()
    again = PreparedCases(folder, plan_for())
    assert equal(again.get(case), prepared)
    assert again.path_of(case).stat().st_ino == written.st_ino


def test_other_voxels_beside_a_header_are_prepared_anew(folder, tmp_path):
    image = write_detached(tmp_path / "image" / "a.mhd")
    case = Case(case_id="a", images=(image,), label=write_detached(tmp_path / "label" / "a.mhd"))
    cases = PreparedCases(folder, plan_for())
    before = cases.path_of(case)
    for side in ("image", "label"):
        touch(tmp_path / side / "a.raw", b"\1" * 24)
        assert cases.path_of(case) != before
        before = cases.path_of(case)


def test_a_mirrored_file_gives_the_same_prepared_case(dataset, folder, tmp_path):
    case = dataset.case("a")
    read = read_case(case)
    other = tmp_path / "turned"
    for what, volume in (("images", read.image), ("labels", read.label)):
        turned = volume.reoriented("PIL")
        write_nifti(other / what / "a.nii.gz", turned.voxels[0], turned.grid.affine)
    cases = PreparedCases(folder, plan_for())
    turned = cases.get(find_dataset(other).case("a"))
    np.testing.assert_array_equal(turned.image, cases.get(case).image)
    np.testing.assert_array_equal(turned.label, cases.get(case).label)


COLOURED = Labels(
    structures={"one": 1, "two": 2}, masks="colours", colours={"one": "#ff0000", "two": "#00ff00"}
)


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": (2.0, 2.0, 2.5)},
        {"interpolation": "cubic"},
        {"intensities": (Intensity(scheme="set", low=-10, high=10, mean=0, sd=1),)},
        {"labels": Labels(structures={"one": 1, "two": 2, "three": 3})},
        {"labels": Labels(structures={"one": 1, "two": 2}, ignore=3)},
        {"labels": Labels(structures={"one": 1, "two": 2}, pairs=(("one", "two"),))},
        {"labels": Labels(structures={"leg_left": 1, "leg_right": 2})},
        {"labels": COLOURED},
        {"labels": COLOURED.model_copy(update={"colours": {"one": "#00ff00", "two": "#ff0000"}})},
    ],
)
def test_a_plan_that_prepares_otherwise_has_entries_of_its_own(dataset, folder, changes):
    case = dataset.case("a")
    plain, changed = PreparedCases(folder, plan_for()), PreparedCases(folder, plan_for(**changes))
    assert plain.path_of(case) != changed.path_of(case)
    plain.get(case)
    changed.get(case)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 4},
        {"overlap": 0.25},
        {"channels": ("MR",)},
        {"labels": Labels(structures={"liver": 1, "tumour": 2})},
    ],
)
def test_a_plan_that_prepares_alike_shares_them(dataset, folder, changes):
    case = dataset.case("a")
    plain, changed = PreparedCases(folder, plan_for()), PreparedCases(folder, plan_for(**changes))
    assert plain.path_of(case) == changed.path_of(case)


def test_a_file_that_changes_is_prepared_again(dataset, folder):
    case = dataset.case("a")
    before = PreparedCases(folder, plan_for()).get(case)
    write_image(case.images[0], seed=7)
    assert not equal(PreparedCases(folder, plan_for()).get(case), before)


def test_a_file_that_moves_is_not_prepared_again(dataset, folder, tmp_path):
    PreparedCases(folder, plan_for()).prepare_all(dataset.cases)
    dataset.root.rename(tmp_path / "moved")
    cases = find_dataset(tmp_path / "moved").cases
    assert len(PreparedCases(folder, plan_for()).prepare_all(cases).ready) == 3
    assert len(list(folder.iterdir())) == 3


def damage(path, how):
    whole = bytearray(path.read_bytes())
    if how == "a flipped byte":
        whole[-100] ^= 4
    elif how == "cut short":
        whole = whole[: len(whole) // 2]
    elif how == "empty":
        whole = bytearray()
    elif how == "foreign":
        whole = bytearray(b"PK\x03\x04 something else")
    path.write_bytes(whole)


@pytest.mark.parametrize("how", ["a flipped byte", "cut short", "empty", "foreign"])
def test_a_damaged_entry_is_made_again_and_never_served(dataset, folder, how):
    case = dataset.case("a")
    cases = PreparedCases(folder, plan_for())
    sound = cases.get(case)
    kept = np.array(sound.image), np.array(sound.label)
    damage(cases.path_of(case), how)
    again = PreparedCases(folder, plan_for()).get(case)
    np.testing.assert_array_equal(again.image, kept[0])
    np.testing.assert_array_equal(again.label, kept[1])
    assert equal(PreparedCases(folder, plan_for()).get(case), again)


def test_an_entry_under_another_entrys_name_is_made_again(dataset, folder):
    cases = PreparedCases(folder, plan_for())
    a, b = dataset.case("a"), dataset.case("b")
    right = np.array(cases.get(a).image)
    cases.get(b)
    cases.path_of(a).write_bytes(cases.path_of(b).read_bytes())
    np.testing.assert_array_equal(PreparedCases(folder, plan_for()).get(a).image, right)


KILLED = """
import os, signal, sys
from pathlib import Path
from volunet.io.atomic import write_bytes

def chunks():
    yield b"volunet prepared" * 1000
    os.kill(os.getpid(), signal.SIGKILL)

write_bytes(Path(sys.argv[1]), chunks())
"""


def test_a_kill_while_an_entry_is_written_leaves_nothing_behind(dataset, folder):
    case = dataset.case("a")
    path = PreparedCases(folder, plan_for()).path_of(case)
    child = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert not path.exists()
    assert len(os.listdir(folder)) == 1
    cases = PreparedCases(folder, plan_for())
    assert os.listdir(folder) == []
    assert cases.get(case).case_id == "a"


def test_runs_may_share_a_folder(dataset, folder):
    runs = [PreparedCases(folder, plan_for()) for _ in range(4)]
    done = []
    threads = [
        threading.Thread(target=lambda run=run: done.append(run.prepare_all(dataset.cases)))
        for run in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    for other in done[1:]:
        assert all(map(equal, other.ready, done[0].ready))
    assert len(os.listdir(folder)) == 3


def test_one_bad_case_is_told_and_the_others_are_prepared(dataset, folder):
    touch(dataset.case("b").images[0], b"")
    seen = []
    done = PreparedCases(folder, plan_for()).prepare_all(
        dataset.cases, progress=lambda n, of: seen.append((n, of))
    )
    assert [p.case_id for p in done.ready] == ["a", "c"]
    assert [(f.case, f.code, f.refuses) for f in done.findings] == [("b", "IO-EMPTY", True)]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_missing_file_is_refused(dataset, folder):
    dataset.case("b").label.unlink()
    with pytest.raises(Refused, match="IO-MISSING"):
        PreparedCases(folder, plan_for()).get(dataset.case("b"))


def test_being_stopped_is_no_finding(dataset, folder):
    def stop(done, of):
        raise Stopped("asked to stop")

    with pytest.raises(Stopped):
        PreparedCases(folder, plan_for()).prepare_all(dataset.cases, progress=stop)
    assert len(os.listdir(folder)) == 1


def test_an_entry_that_cannot_be_written_stops_the_work(dataset, folder):
    cases = PreparedCases(folder, plan_for())
    folder.rmdir()
    with pytest.raises(WriteError):
        cases.prepare_all(dataset.cases)


def test_what_was_found_is_told_again_when_an_entry_is_served(dataset, folder):
    case = dataset.case("a")
    write_nifti(case.label, np.zeros(SHAPE, np.uint8))
    for _ in range(2):
        prepared = PreparedCases(folder, plan_for()).get(case)
        assert [(f.case, f.code) for f in prepared.findings] == [("a", "LBL-EMPTY")]
        assert prepared.foreground == {}


def test_a_waiver_is_part_of_the_key(dataset, folder):
    case = dataset.case("a")
    moved = np.diag([2.0, 1.5, 3.0, 1.0])
    moved[0, 3] = 10
    label = read_case(case).label.voxels[0]
    write_nifti(case.label, label, moved)
    accepting = PreparedCases(folder, plan_for(), accept=["GEO-MISMATCH"])
    assert [f.accepted for f in accepting.get(case).findings] == [True]
    assert (accepting.get(case).label > 0).any()
    with pytest.raises(Refused, match="GEO-MISMATCH"):
        PreparedCases(folder, plan_for()).get(case)


def test_more_than_255_classes_are_kept_in_two_bytes(tmp_path, folder):
    labels = Labels(structures={f"s{v}": v for v in range(1, 301)})
    voxels = np.zeros((10, 10, 10), np.uint16)
    voxels[2:8, 2:8, 2:8] = 300
    write_image(tmp_path / "images" / "a.nii.gz", shape=(10, 10, 10))
    write_nifti(tmp_path / "labels" / "a.nii.gz", voxels)
    case = find_dataset(tmp_path).case("a")
    prepared = PreparedCases(folder, plan_for(labels)).get(case)
    assert prepared.label.dtype == np.uint16
    assert list(prepared.foreground) == [300]


def test_an_ignored_value_is_kept_and_is_no_structure(dataset, folder):
    case = dataset.case("a")
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[1:3], voxels[4:] = 1, 9
    write_nifti(case.label, voxels)
    labels = Labels(structures={"one": 1, "two": 2}, ignore=9)
    prepared = PreparedCases(folder, plan_for(labels)).get(case)
    assert labels.ignore_index in prepared.label
    assert list(prepared.foreground) == [1]


@given(
    index=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3), elements=st.integers(0, 4))
)
def test_a_sample_of_few_voxels_is_all_of_them(index):
    samples = sample_foreground(index, 4, np.random.default_rng(0))
    assert set(samples) == set(np.unique(index)) - {0, 4}
    for structure, voxels in samples.items():
        np.testing.assert_array_equal(voxels, np.argwhere(index == structure))


def test_a_sample_of_many_voxels_is_seeded_and_spread():
    index = np.ones((40, 40, 40), np.uint8)
    first, second, third = (
        sample_foreground(index, 2, np.random.default_rng(seed))[1] for seed in (0, 0, 1)
    )
    assert first.shape == (MOST_SAMPLES, 3)
    assert len(np.unique(first, axis=0)) == MOST_SAMPLES
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)
    np.testing.assert_allclose(first.mean(axis=0), 19.5, atol=1)


def test_what_nobody_has_read_for_two_months_is_removed_and_what_is_read_stays(dataset, folder):
    cases = PreparedCases(folder, plan_for())
    paths = {name: cases.path_of(dataset.case(name)) for name in "abc"}
    for name in "abc":
        cases.get(dataset.case(name))
    old = time.time() - (UNREAD_DAYS + 1) * 24 * 3600
    for name in "ab":
        os.utime(paths[name], (old, old))
    PreparedCases(folder, plan_for()).prepare_all([dataset.case("c")])
    assert [name for name in "abc" if paths[name].exists()] == ["c"]
    os.utime(paths["c"], (old + 2 * 24 * 3600,) * 2)  # within the two months
    PreparedCases(folder, plan_for()).get(dataset.case("c"))
    assert time.time() - paths["c"].stat().st_mtime < 3600


def test_a_disk_without_room_is_told_before_the_first_case_is_prepared(dataset, tmp_path):
    fine = plan_for(spacing=(0.002, 0.002, 0.002))
    with pytest.raises(WriteError, match=r"take [\d.]+ GB in .*, and [\d.]+ GB are free"):
        PreparedCases(tmp_path / "cache", fine).prepare_all(dataset.cases)
    assert not any((tmp_path / "cache").iterdir())


def test_what_a_case_takes_is_known_from_its_header(dataset, tmp_path):
    case, cases = dataset.cases[0], PreparedCases(tmp_path / "cache", plan_for())
    foreseen = prepared_bytes(case, plan_for())
    made = cases.get(case)
    assert foreseen == made.image.nbytes + made.label.nbytes
    assert foreseen <= cases.path_of(case).stat().st_size
