"""The sample scans are what the generator makes, whole, small, and not to be had by a threshold."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from sample_data.generate import LABELS, SETS, case_id, files, make_scan, one_scan
from volunet.codes import CODES
from volunet.data.check import check_dataset
from volunet.data.layouts import find_dataset
from volunet.data.sample import sample_folder
from volunet.findings import Finding, Refused
from volunet.io.read import read
from volunet.space.volume import Volume

HERE = Path(__file__).parents[2] / "sample_data"
CASES = [(folder, index) for folder, count in SETS.items() for index in range(count)]
BROKEN = re.findall(r"^\| `([^`]+)` \| ([A-Z]+-[A-Z]+) \|", (HERE / "README.md").read_text(), re.M)


def stored(folder: str, index: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    image, labels = (
        nib.load(HERE / folder / kind / f"{case_id(folder, index)}.nii.gz")
        for kind in ("images", "labels")
    )
    return np.asarray(image.dataobj), np.asarray(labels.dataobj)


def best_interval(image: NDArray[np.int16], truth: NDArray[np.bool_]) -> float:
    """The highest Dice that any interval of intensities reaches on this scan."""
    edges = np.linspace(np.quantile(image, 0.001), np.quantile(image, 0.999), 200)
    inside, outside = (np.histogram(image[truth == side], edges)[0] for side in (True, False))
    hit, miss = (np.concatenate(([0], np.cumsum(counts))) for counts in (inside, outside))
    true, false = hit[None] - hit[:, None], miss[None] - miss[:, None]
    return float(np.max(2 * true / np.maximum(true + false + truth.sum(), 1)))


def test_checksums_name_every_file_and_hold():
    lines = (HERE / "SHA256SUMS").read_text().splitlines()
    sums = {path: checksum for checksum, path in (line.split("  ") for line in lines)}
    kept = {
        str(file.relative_to(HERE))
        for folder in ("ct", "mr", "broken")
        for file in (HERE / folder).rglob("*")
        if file.is_file()
    }
    assert kept == set(sums)
    for path, checksum in sums.items():
        assert hashlib.sha256((HERE / path).read_bytes()).hexdigest() == checksum, path


def test_the_sample_data_takes_less_than_three_megabytes():
    assert sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file()) < 3_000_000


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        pytest.param(*case, marks=() if case[1] in (0, 4) else pytest.mark.slow, id=case_id(*case))
        for case in CASES
    ],
)
def test_the_seed_gives_the_stored_scan_voxel_by_voxel(folder, index):
    scan = one_scan(0, folder, index)
    image, labels = stored(folder, index)
    affine = nib.load(HERE / folder / "images" / f"{case_id(folder, index)}.nii.gz").affine
    np.testing.assert_array_equal(scan.image, image)
    np.testing.assert_array_equal(scan.labels, labels)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-4)


@pytest.mark.slow
def test_the_generator_writes_the_files_that_are_kept():
    names = {path for path, _ in files(0)}
    assert names == {line[66:] for line in (HERE / "SHA256SUMS").read_text().splitlines()}


def test_another_seed_gives_another_body():
    one, other = (make_scan(np.random.default_rng(seed), "ct") for seed in (1, 2))
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_turning_the_axes_of_a_scan_changes_no_voxel():
    upright, turned = (make_scan(np.random.default_rng(3), "mr", way) for way in ("RAS", "PIR"))
    assert nib.aff2axcodes(turned.affine) == ("P", "I", "R")
    seen = nib.as_closest_canonical(nib.Nifti1Image(turned.image, turned.affine))
    np.testing.assert_array_equal(np.asarray(seen.dataobj), upright.image)
    np.testing.assert_allclose(seen.affine, upright.affine, atol=1e-9)


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_the_best_interval_of_intensities_scores_below_0_6(modality):
    dice = []
    for folder, index in CASES:
        if folder.startswith(modality):
            image, labels = stored(folder, index)
            dice.append(best_interval(image, labels > 0))
    assert max(dice) < 0.6
    assert min(dice) > 0.2  # the search itself works


@pytest.mark.parametrize(("folder", "index"), CASES, ids=[case_id(*case) for case in CASES])
def test_every_scan_holds_every_label_with_the_liver_on_the_right(folder, index):
    _, labels = stored(folder, index)
    assert set(np.unique(labels)) == {0, *LABELS.values()}
    affine = nib.load(HERE / folder / "labels" / f"{case_id(folder, index)}.nii.gz").affine
    sides = {
        name: float(
            (nib.affines.apply_affine(affine, np.argwhere(labels == value)).mean(0)
             - nib.affines.apply_affine(affine, (np.array(labels.shape) - 1) / 2))[0]
        )
        for name, value in LABELS.items()
    }  # fmt: skip
    assert sides["liver"] > 0
    assert sides["kidney_right"] > 5
    assert sides["kidney_left"] < -5


def test_labels_json_says_what_the_generator_drew():
    for folder in SETS:
        about = json.loads((HERE / folder / "labels.json").read_text())
        assert about["labels"] == LABELS
        assert about["channels"] == [folder[:2].upper()]


@pytest.mark.parametrize("folder", SETS)
def test_a_check_of_the_good_scans_finds_nothing(folder):
    dataset = find_dataset(HERE / folder)
    assert len(dataset.cases) == SETS[folder]
    assert [found.code for found in check_dataset(dataset)] == []


def codes_of(path: Path) -> list[str]:
    try:
        found: list[Finding] = [*check_dataset(find_dataset(path))] if path.is_dir() else []
        seen: Volume | None = None if path.is_dir() else read(path)
    except Refused as refused:
        return [each.code for each in refused.findings]
    assert seen is None, "it was read"
    return [each.code for each in found if each.refuses]


@pytest.mark.parametrize(("name", "code"), BROKEN, ids=[name for name, _ in BROKEN])
def test_a_broken_file_gives_the_finding_that_the_readme_names(name, code):
    assert code in CODES
    assert codes_of(HERE / "broken" / name) == [code]


def test_the_readme_names_every_broken_file():
    names = {file.name + "/" * file.is_dir() for file in (HERE / "broken").iterdir()}
    assert names == {name for name, _ in BROKEN}


def test_the_sample_folder_is_found_and_holds_scans_to_train_on_and_scans_to_keep_aside():
    folder = sample_folder()
    assert len(find_dataset(folder).cases) == 14
    assert len(find_dataset(folder / "test").cases) == 5
