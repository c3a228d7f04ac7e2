"""Cases with targets are judged without labels, surveyed, and prepared once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.data.on_disk import (
    AFFINE,
    SHAPE,
    finer_grid,
    touch,
    write_aimed,
    write_image,
    write_json,
    write_nifti,
    write_target,
)
from volunet.data.cache import PreparedCases
from volunet.data.check import check_dataset, declare_labels
from volunet.data.layouts import find_dataset
from volunet.data.read_target import read_target_case
from volunet.data.room import prepared_bytes
from volunet.data.survey import survey
from volunet.findings import Refused
from volunet.planning.fingerprint import Fingerprint, take_target_facts
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.planning.targets import Scale, Targets
from volunet.space.labels import Labels

NO_LABELS = Labels(structures={})
CT = Scale(mean=100.0, sd=20.0)


def plan_for(names=("CT",), scales=(CT,), *, finer=(1, 1, 1), **changes) -> Plan:
    values = {
        "channels": ("MR",),
        "labels": NO_LABELS,
        "targets": Targets(names=names, scales=scales, finer=finer),
        "spacing": (2.0, 2.0, 2.0),
        "respace": False,
        "patch": (4, 4, 4),
        "intensities": (Intensity(scheme="image"),),
        "features": (4, 8),
        "strides": ((2, 2, 2),),
        "kernels": ((3, 3, 3), (3, 3, 3)),
        "batch": 1,
    }
    return Plan(**(values | changes))


@pytest.fixture
def root(tmp_path):
    return write_aimed(tmp_path / "set")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def first_case(root):
    return find_dataset(root).case("a")


# Judging


def test_a_sound_dataset_with_targets_has_no_findings_and_no_labels_to_declare(root):
    dataset = find_dataset(root)
    assert list(check_dataset(dataset)) == []
    assert declare_labels(dataset) is dataset


def test_targets_are_not_judged_as_label_maps_are(root):
    """Neither empty ones, nor those of parts of numbers, nor those below 0, in all cases."""
    for n, voxels in enumerate((np.zeros(SHAPE), np.full(SHAPE, 0.5), -np.ones(SHAPE))):
        write_nifti(root / "targets" / f"{'abc'[n]}.nii.gz", voxels.astype(np.float32))
    found = [f.code for f in check_dataset(find_dataset(root))]
    assert not [code for code in found if code.startswith("LBL-")]


def test_a_case_that_cannot_be_read_is_told_and_the_others_are_checked(root):
    touch(root / "targets" / "a.nii.gz", b"")
    moved = AFFINE.copy()
    moved[0, 3] = 1.0
    write_target(root / "targets" / "c.nii.gz", affine=moved)
    found = list(check_dataset(find_dataset(root)))
    assert [(f.case, f.code) for f in found] == [("a", "IO-EMPTY"), ("c", "GEO-MISMATCH")]
    accepted = list(check_dataset(find_dataset(root), accept=["GEO-MISMATCH"]))
    assert [(f.case, f.refuses) for f in accepted] == [("a", True), ("c", False)]


def test_a_scan_that_is_there_twice_is_found_whatever_its_target(root):
    image = write_image(root / "images" / "a.nii.gz")
    (root / "images" / "b.nii.gz").write_bytes(image.read_bytes())
    (found,) = check_dataset(find_dataset(root))
    assert (found.code, found.case) == ("SET-DUPLICATE-IMAGE", "a")


# Looking at them once


def test_the_fingerprint_is_that_of_each_case_taken_alone(tmp_path):
    write_aimed(tmp_path, finer=(2, 1, 2), parts=2)
    write_json(tmp_path / "labels.json", {"targets": ["CT", "PET"]})
    dataset = find_dataset(tmp_path)
    found = survey(dataset.cases, dataset.labels, 1, targets=2)
    alone = {}
    for case in dataset.cases:
        pair = read_target_case(case, channels=1, targets=2)
        alone[case.case_id] = take_target_facts(
            pair.image, pair.target, finer=pair.finer, top=pair.top
        )
    assert found.fingerprint == Fingerprint(cases=alone)
    assert (found.findings, found.refused) == ((), ())
    one = found.fingerprint.cases["a"]
    assert (one.shape, one.finer, len(one.targets), one.volumes_ml) == (SHAPE, (2, 1, 2), 2, {})


def test_a_refused_case_is_named_and_the_others_are_counted(root):
    touch(root / "targets" / "b.nii.gz", b"<html>sign in</html>")
    found = survey(find_dataset(root).cases, NO_LABELS, 1, targets=1)
    assert (found.refused, set(found.fingerprint.cases)) == (("b",), {"a", "c"})
    assert {f.case for f in found.findings if f.refuses} == {"b"}


def test_cases_with_other_targets_in_number_are_refused(root):
    with pytest.raises(Refused, match=r"(?s)None of the 3 cases can be used.*2 are needed"):
        survey(find_dataset(root).cases, NO_LABELS, 1, targets=2)


def test_pictures_and_their_enlargements_are_known_as_such(tmp_path):
    for what, side in (("images", 6), ("targets", 12)):
        (tmp_path / what).mkdir()
        for n, name in enumerate("ab"):
            pixels = np.random.default_rng(n).integers(0, 99, (side, side)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / what / f"{name}.png")
    dataset = find_dataset(tmp_path)
    facts = survey(dataset.cases, NO_LABELS, 1, targets=1).fingerprint.cases["a"]
    assert (facts.top, facts.target_top, facts.finer) == (255, 255, (2, 2, 1))
    assert facts.shape == (6, 6, 1)


# Preparing them


@pytest.mark.parametrize("finer", [(1, 1, 1), (2, 2, 2), (1, 2, 3)])
def test_a_prepared_case_is_the_plans_image_and_the_targets_on_its_grid(tmp_path, folder, finer):
    write_aimed(tmp_path / "set", "a", finer=finer, parts=2)
    case = find_dataset(tmp_path / "set").case("a")
    plan = plan_for(("MR", "CT"), (None, CT), finer=finer)
    prepared = PreparedCases(folder, plan).get(case)
    pair = read_target_case(case, channels=1, targets=2)
    image, scales = plan.prepare_scaled(pair.image)
    assert prepared.grid.matches(image.grid)
    assert prepared.grid.matches(finer_grid(finer).reoriented("RAS"))
    np.testing.assert_array_equal(prepared.image, image.voxels)
    assert (prepared.label.dtype, prepared.label.shape) == (np.float32, (2, *image.grid.shape))
    alike, ct = pair.target.reoriented("RAS").voxels.astype(np.float64)
    expected = np.stack([(alike - scales[0].mean) / scales[0].sd, (ct - 100) / 20])
    np.testing.assert_allclose(prepared.label, expected, rtol=1e-4, atol=1e-4)
    assert (prepared.foreground, prepared.drawn, prepared.findings) == ({}, None, ())
    assert prepared_bytes(case, plan) == prepared.image.nbytes + prepared.label.nbytes


def test_targets_are_mapped_read_only_and_the_same_when_they_are_opened_again(root, folder):
    prepared = PreparedCases(folder, plan_for()).get(first_case(root))
    again = PreparedCases(folder, plan_for()).get(first_case(root))
    assert isinstance(prepared.label, np.memmap)
    assert not prepared.label.flags.writeable
    np.testing.assert_array_equal(prepared.label, again.label)
    assert again.grid.matches(prepared.grid)
    assert len(list(folder.iterdir())) == 1


def test_a_target_that_is_changed_is_prepared_anew(root, folder):
    case, cases = first_case(root), PreparedCases(folder, plan_for())
    before, seen = cases.path_of(case), cases.get(case)
    write_target(case.target, seed=2)
    after = PreparedCases(folder, plan_for())
    assert after.path_of(case) != before
    np.testing.assert_array_equal(after.get(case).image, seen.image)
    assert not np.array_equal(after.get(case).label, seen.label)


@pytest.mark.parametrize(
    "changes",
    [
        {"scales": (Scale(mean=100.0, sd=10.0),)},
        {"names": ("MR",), "scales": (None,)},
        {"respace": True},
        {"finer": (2, 2, 2)},
        {"intensities": (Intensity(scheme="set", low=-10, high=10, mean=0, sd=1),)},
        {"interpolation": "cubic"},
    ],
)
def test_a_plan_that_prepares_otherwise_has_entries_of_its_own(root, folder, changes):
    case = first_case(root)
    plain, other = (PreparedCases(folder, plan_for(**how)) for how in ({}, changes))
    assert plain.path_of(case) != other.path_of(case)


def test_what_the_network_does_with_targets_does_not_change_their_entries(root, folder):
    case = first_case(root)
    alike = {"names": ("MR",), "scales": (None,)}
    plain, corrects = (
        PreparedCases(folder, plan_for(**alike, corrects=how)) for how in (False, True)
    )
    assert plain.path_of(case) == corrects.path_of(case)


def test_one_case_that_cannot_be_prepared_does_not_stop_the_others(root, folder):
    touch(root / "targets" / "b.nii.gz", b"")
    done = PreparedCases(folder, plan_for()).prepare_all(find_dataset(root).cases)
    assert [case.case_id for case in done.ready] == ["a", "c"]
    assert [(f.case, f.code) for f in done.findings] == [("b", "IO-EMPTY")]


def test_what_was_waived_is_told_with_the_prepared_case(root, folder):
    moved = AFFINE.copy()
    moved[0, 3] = 1.0
    write_target(root / "targets" / "a.nii.gz", affine=moved)
    for _ in range(2):  # made, and read back
        cases = PreparedCases(folder, plan_for(), accept=["GEO-MISMATCH"])
        (found,) = cases.get(first_case(root)).findings
        assert (found.code, found.accepted, found.case) == ("GEO-MISMATCH", True, "a")


def test_a_target_that_is_not_as_fine_as_the_plan_has_it_is_refused(root, folder):
    prepared = PreparedCases(folder, plan_for(finer=(1, 1, 2)))
    with pytest.raises(Refused, match=r"the plan \(1, 1, 2\)"):
        prepared.get(first_case(root))


def test_scans_on_their_own_grid_and_respaced_ones_are_kept_apart(root, folder):
    case = first_case(root)
    one, other = (PreparedCases(folder, plan_for(respace=respace)) for respace in (True, False))
    assert one.path_of(case) != other.path_of(case)
