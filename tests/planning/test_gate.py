"""A scan is judged against what the model was trained on, before the network sees it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tests.planning.drawing import LABELS, case_facts, plan_for
from volunet.findings import Finding, Severity
from volunet.planning.fingerprint import Fingerprint, take_facts
from volunet.planning.gate import judge
from volunet.planning.intensity import Intensity
from volunet.planning.nnunet_intensity import NnunetIntensity
from volunet.space.grid import Grid
from volunet.space.volume import Volume

WINDOW = Intensity(scheme="set", low=-100.0, high=300.0, mean=50.0, sd=50.0)


def scan(spacing=(1.0, 1.0, 3.0), shape=(20, 20, 10), *, centre=0.0, spread=100.0, channels=1):
    voxels = np.random.default_rng(0).normal(centre, spread, (channels, *shape))
    return Volume(voxels.astype(np.float32), Grid(shape, np.diag([*spacing, 1.0])))


def fingerprint() -> Fingerprint:
    """Scans at 1 x 1 x 3 and 1 x 1 x 4 mm, of 20 x 20 x 30 and 20 x 20 x 40 mm."""
    cases = {}
    for name, spacing in (("a", (1.0, 1.0, 3.0)), ("b", (1.0, 1.0, 4.0))):
        image = scan(spacing)
        cases[name] = take_facts(image, image.with_voxels(image.voxels > 0), LABELS)
    return Fingerprint(cases=cases)


def codes(volume: Volume, **changes) -> list[str]:
    plan = plan_for(**({"channels": ("CT",), "intensities": (WINDOW,)} | changes))
    return [f.code for f in judge(volume, plan, fingerprint())]


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SAR"])
def test_a_scan_like_the_others_has_no_findings(orientation):
    assert codes(scan().reoriented(orientation)) == []


@pytest.mark.parametrize(
    ("spacing", "shape", "expected"),
    [
        ((1.0, 1.0, 5.9), (20, 20, 7), []),  # 4 mm, and half as much again
        ((1.0, 1.0, 6.1), (20, 20, 7), ["OOD-SPACING"]),
        ((0.68, 1.0, 3.0), (30, 20, 10), []),
        ((0.65, 1.0, 3.0), (30, 20, 10), ["OOD-SPACING"]),
        ((1.0, 1.0, 3.0), (29, 20, 10), []),
        ((1.0, 1.0, 3.0), (31, 20, 10), ["OOD-SIZE"]),
        ((1.0, 1.0, 3.0), (20, 20, 6), ["OOD-SIZE"]),
        ((10.0, 1.0, 3.0), (20, 20, 10), ["OOD-SPACING", "OOD-SIZE"]),
    ],
)
def test_spacing_and_field_of_view_may_leave_the_range_by_half(spacing, shape, expected):
    assert codes(scan(spacing, shape)) == expected


def test_the_warning_names_the_axis_of_the_patient_and_the_numbers():
    odd = scan((1.0, 1.0, 9.0), (20, 20, 4)).reoriented("SPL")
    plan = plan_for(channels=("CT",), intensities=(WINDOW,))
    (found,) = judge(odd, plan, fingerprint())
    assert found.severity is Severity.WARN
    assert found.numbers == {"axis": "S"}
    assert "1 x 1 x 9 mm (R, A, S); the model saw 1 x 1 x 3 to 1 x 1 x 4." in found.message


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, []),
        ({"centre": 200.0}, []),
        ({"centre": 600.0}, ["OOD-INTENSITY"]),
        ({"centre": -600.0}, ["OOD-INTENSITY"]),
        ({"spread": 10.0}, ["OOD-INTENSITY"]),  # a CT that was scaled to nearly nothing
        ({"spread": 1000.0}, ["OOD-INTENSITY"]),
    ],
)
def test_intensities_in_absolute_units_are_judged(how, expected):
    assert codes(scan(**how)) == expected
    assert codes(scan(**how), intensities=(Intensity(scheme="image"),)) == []


def test_other_channels_are_refused_by_number_and_name():
    plan = plan_for(channels=("CT", "PET"), intensities=(WINDOW, Intensity(scheme="image")))
    (found,) = judge(scan(), plan, fingerprint())
    assert (found.code, found.refuses) == ("MDL-CHANNELS", True)
    assert "has 1 channels, the model takes 2: CT, PET" in found.message


@pytest.mark.parametrize("centre", [0.0, 600.0])
def test_a_large_scan_is_judged_by_a_lattice_of_it_without_a_copy(centre):
    large = scan((0.1, 0.1, 0.2), (200, 200, 150), centre=centre)
    plan = plan_for(channels=("CT",), intensities=(WINDOW,))
    tracemalloc.start()
    seen = judge(large, plan, fingerprint())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    turned = judge(large.reoriented("SPL"), plan, fingerprint())
    assert [f.message for f in turned] == [f.message for f in seen]
    assert ("OOD-INTENSITY" in {f.code for f in seen}) == (centre > 0)
    assert peak < large.voxels.nbytes / 2


def ct(low=-1000, *, tissue=40.0, air=True) -> Volume:
    """A body of soft tissue, with some bone, in air or cut out of it."""
    rng = np.random.default_rng(1)
    voxels = rng.normal(tissue, 20, (1, 20, 20, 10))
    voxels[:, :2] += 700
    if air:
        voxels[:, 12:] = low + rng.normal(0, 20, (1, 8, 20, 10))
    return Volume(voxels.astype(np.float32), Grid((20, 20, 10), np.diag([1.0, 1.0, 3.0, 1.0])))


def changed(change) -> Volume:
    volume = ct()
    return volume.with_voxels(change(volume.voxels).astype(np.float32))


LIVER = {"low": -17.0, "high": 201.0, "mean": 99.0, "sd": 40.0}
LUNG = {"low": -1000.0, "high": 300.0, "mean": -600.0, "sd": 320.0}
BRAIN = {"low": 0.0, "high": 80.0, "mean": 35.0, "sd": 12.0}


@pytest.mark.parametrize("known", [{}, {"a": case_facts((20, 20, 10), (1.0, 1.0, 3.0))}])
@pytest.mark.parametrize(
    ("window", "volume", "odd"),
    [
        (LIVER, ct(), False),
        (LUNG, ct(), False),
        (BRAIN, ct(), False),
        (LIVER, ct(air=False), False),
        (BRAIN, scan(centre=35.0, spread=8.0), False),  # nothing but brain
        (LIVER, scan(centre=40.0, spread=20.0), False),  # nothing but soft tissue
        (LIVER, ct(low=-3024), False),  # as some scanners fill the corners
        (LIVER, changed(lambda v: (v + 1000) / 2000), True),
        (LUNG, changed(lambda v: (v - v.mean()) / v.std()), True),
        (LUNG, changed(lambda v: v / 20), True),
        (BRAIN, changed(lambda v: (v + 1000) / 2000), True),
        (LIVER, changed(lambda v: v + 32768), True),
        (LIVER, scan(centre=-1000.0, spread=20.0), True),  # nothing but air
    ],
)
def test_a_scan_that_is_not_in_the_units_of_an_imported_model_is_told(window, volume, odd, known):
    fingerprint = Fingerprint(cases=known)
    own = plan_for(channels=("CT",), intensities=(Intensity(scheme="set", **window),))
    found = {f.code for f in judge(volume, own, fingerprint)}
    assert ("OOD-INTENSITY" in found) == odd
    assert ("MDL-UNJUDGED" in found) == (not known)
    imported = own.model_copy(update={"intensities": (NnunetIntensity(scheme="ct", **window),)})
    assert {f.code for f in judge(volume, imported, fingerprint)} == found
    other = own.model_copy(update={"intensities": (NnunetIntensity(scheme="zscore"),)})
    assert "OOD-INTENSITY" not in {f.code for f in judge(volume, other, fingerprint)}


TISSUES = {
    "air": (-1000, 10),
    "lung": (-850, 50),
    "fat": (-100, 20),
    "soft": (40, 20),
    "spongy": (300, 100),
    "dense": (1000, 150),
    "metal": (3071, 0),
    "padding": (-3024, 0),
}


def made_of(**percent: int) -> Volume:
    """A CT of so much of each tissue, in a grid of 20 x 20 x 100 voxels."""
    rng, per = np.random.default_rng(2), 40_000 // sum(percent.values())
    parts = [rng.normal(*TISSUES[name], n * per) for name, n in percent.items()]
    voxels = np.resize(np.concatenate(parts), (1, 20, 20, 100)).astype(np.float32)
    return Volume(voxels, Grid((20, 20, 100), np.diag([1.0, 1.0, 0.3, 1.0])))


BODY = {"fat": 20, "soft": 60, "spongy": 13, "dense": 7}
SCANS = {
    "head": made_of(air=100, **BODY),
    "tight": made_of(**BODY),
    "wide": made_of(air=1900, **BODY),
    "chest": made_of(lung=40, air=60, **BODY),
    "round, padded": made_of(padding=60, air=100, **BODY),
    "tight, padded": made_of(padding=30, **BODY),
    "metal": made_of(air=400, metal=2, **BODY),
    "soft alone": made_of(fat=30, soft=64, spongy=6),
    "spine": made_of(fat=10, soft=30, spongy=50, dense=10),
}


def known_from(*names: str, offset: int = 0) -> Fingerprint:
    """The facts of some of these scans, what is no air labelled."""
    cases = {}
    for name in names:
        image = SCANS[name].with_voxels(SCANS[name].voxels + np.float32(offset))
        inside = image.with_voxels(image.voxels > offset - 500)
        cases[name] = take_facts(image, inside, LABELS)
    return Fingerprint(cases=cases)


def odd_intensities(volume: Volume, known: Fingerprint, **window: float) -> list[Finding]:
    plan = plan_for(channels=("CT",), intensities=(Intensity(scheme="set", **window),))
    return [f for f in judge(volume, plan, known) if f.code == "OOD-INTENSITY"]


@pytest.mark.parametrize("trained_on", [("head",), ("tight", "spine"), ("round, padded", "wide")])
@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize(
    ("offset", "told"), [(0, ""), (1024, "1024 HU too high"), (-1024, "1024 HU too low")]
)
def test_a_ct_without_its_rescale_or_with_it_twice_is_told_and_no_other(
    name, trained_on, offset, told
):
    shifted = SCANS[name].with_voxels(SCANS[name].voxels + np.float32(offset))
    found = odd_intensities(shifted, known_from(*trained_on), **LUNG)
    assert len(found) == bool(offset)
    for one in found:
        assert told in one.message
        assert one.severity is Severity.WARN
        assert one.numbers == {"channel": "CT", "offset_hu": offset}


@pytest.mark.parametrize("offset", [1024, -1024])
def test_a_model_of_scans_that_lie_off_takes_such_scans_for_ordinary(offset):
    known = known_from("wide", "soft alone", offset=offset)
    scan = SCANS["head"].with_voxels(SCANS["head"].voxels + np.float32(offset))
    assert odd_intensities(scan, known, **LUNG) == []


def test_of_a_scan_that_lies_off_an_imported_model_tells_what_its_structures_do():
    low, high = (SCANS["head"].voxels + np.float32(offset) for offset in (-1024, 1024))
    for window, voxels, told in (
        (LUNG, low, 1),
        (LIVER, low, 1),
        (LUNG, high, 1),
        (BRAIN, high, 0),  # it may be of other numbers than HU
    ):
        scan = SCANS["head"].with_voxels(voxels)
        assert len(odd_intensities(scan, Fingerprint(cases={}), **window)) == told
