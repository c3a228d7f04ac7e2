"""A run's peak memory is told beforehand, and a scan that would pass the limit is not read."""

from __future__ import annotations

import csv
import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.test_path import segmenter, tilted_scan
from volunet.cohort.outlook import _beside, look_ahead
from volunet.cohort.run_record import Asked
from volunet.cohort.runner import predict_cohort
from volunet.data.scans import find_scans
from volunet.findings import Refused
from volunet.io.header import Header
from volunet.io.scan import inspect
from volunet.io.write import write
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.volume import Volume


@pytest.fixture
def scans(tmp_path):
    """Two scans of a ball, of which the second is larger."""
    folder = tmp_path / "scans"
    folder.mkdir()
    ball, _ = tilted_scan("RAS")
    write(ball, folder / "a.nii.gz")
    i, j, k = ball.grid.shape
    grid = Grid((i + 8, j, k), ball.grid.affine)
    voxels = np.full((1, *grid.shape), ball.voxels.min(), dtype=ball.voxels.dtype)
    voxels[:, :i] = ball.voxels
    write(Volume(voxels, grid), folder / "b.nii.gz")
    return folder


def header_of(path) -> Header:
    volume = inspect(path).volume
    return Header(volume.grid, 1, volume.voxels.dtype)


def rows(out) -> dict[str, dict[str, str]]:
    with (out / "cases.csv").open(encoding="utf-8", newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def test_the_peak_is_that_of_the_scan_that_takes_most_beside_another_one(scans):
    model, outlook = look_ahead(find_scans(scans), segmenter())
    larger = header_of(scans / "b.nii.gz")
    assert (outlook.case_id, outlook.shape) == ("b", larger.grid.shape)
    assert model.beside == larger.nbytes + np.prod(larger.grid.shape)
    alone = segmenter().foresee(larger).demand.total
    assert outlook.peak_bytes == pytest.approx(alone + model.beside)
    assert outlook.overlaps
    assert "b, " in str(outlook)
    assert f"{outlook.peak_bytes / 1e9:.2f} GB" in str(outlook)
    assert "one piece, sums in float32" in str(outlook)


def test_what_is_read_and_what_is_written_meanwhile_may_be_of_two_scans():
    small = Header(Grid((10, 10, 10), np.eye(4)), 1, np.dtype("f8"), copies=9)
    large = Header(Grid((30, 30, 30), np.eye(4)), 1, np.dtype("u1"))
    assert small.reading_bytes > large.reading_bytes
    beside = _beside([small, large], segmenter())
    assert beside == small.reading_bytes + np.prod(large.grid.shape)


def test_one_scan_has_nothing_beside_it(scans):
    found = find_scans(scans / "a.nii.gz")
    model, outlook = look_ahead(found, segmenter().within(8e9))
    assert model.beside == 0
    assert outlook.overlaps
    assert outlook.peak_bytes == segmenter().foresee(header_of(scans / "a.nii.gz")).demand.total


def test_scans_are_read_one_at_a_time_where_two_do_not_fit(scans, tmp_path):
    found, raw = find_scans(scans), segmenter()
    enough = raw.foresee(header_of(scans / "b.nii.gz")).demand.total
    model, outlook = look_ahead(found, raw.within(enough))
    assert (model.beside, model.overlaps, outlook.overlaps) == (0, False, False)
    assert outlook.peak_bytes == enough
    assert "One scan at a time" in str(outlook)
    assert predict_cohort(found, model, tmp_path / "out").exit_code == 0
    assert {row["status"] for row in rows(tmp_path / "out").values()} <= {"ok", "ok_with_findings"}


def test_a_scan_that_does_not_fit_is_refused_before_its_voxels_are_read(scans, tmp_path):
    path = scans / "b.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Refused, match="IO-TRUNC"):
        inspect(path)
    model = segmenter().within(1e8)
    found = find_scans(scans)
    model, outlook = look_ahead(found, model)
    assert (outlook.refused, outlook.peak_bytes, outlook.how) == (2, 0, "")
    assert "2 scans will be refused" in str(outlook)
    outcome = predict_cohort(found, model, tmp_path / "out")
    assert outcome.exit_code == 4
    assert {row["codes"] for row in rows(tmp_path / "out").values()} == {"RES-MEMORY"}
    assert {row["status"] for row in rows(tmp_path / "out").values()} == {"refused"}


def test_a_scan_that_is_refused_does_not_keep_others_from_overlapping(scans):
    shutil.copy(scans / "a.nii.gz", scans / "b.nii.gz")
    small, raw = header_of(scans / "a.nii.gz"), segmenter()
    limit = raw.foresee(small).demand.total + small.nbytes + np.prod(small.grid.shape)
    huge = np.zeros((500, 500, 400), np.uint8)
    nib.save(nib.Nifti1Image(huge, np.diag([1.0, 1.0, 1.0, 1.0])), scans / "c.nii.gz")
    model, outlook = look_ahead(find_scans(scans), raw.within(limit))
    assert (outlook.refused, outlook.overlaps, model.overlaps) == (1, True, True)
    assert "1 scan will be refused" in str(outlook)


def test_a_scan_beside_the_region_that_is_asked_for_is_not_refused_for_want_of_memory(scans):
    ball = inspect(scans / "a.nii.gz").volume
    away = ball.grid.crop(Box((900, 900, 900), (901, 901, 901)))
    write(Volume(np.full((1, 1, 1, 1), 1, np.uint8), away), scans.parent / "place.nii.gz")
    model = segmenter().only(inspect(scans.parent / "place.nii.gz").volume)
    _, outlook = look_ahead(find_scans(scans), model)
    assert (outlook.refused, outlook.peak_bytes) == (0, 0)
    assert "memory" not in str(outlook)


@pytest.mark.parametrize("name", ["c.nii", "c.nii.gz"])
def test_a_header_without_its_voxels_says_nothing_of_the_memory(scans, tmp_path, name):
    """Another machine would not help: the file must be fetched again."""
    header = nib.Nifti1Header()
    header.set_data_shape((2600, 2600, 2600))
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = header.binaryblock + bytes(1 << 20)
    (scans / name).write_bytes(content if name == "c.nii" else gzip.compress(content)[:-4])
    found = find_scans(scans)
    model, outlook = look_ahead(found, segmenter())
    assert outlook.case_id == "b"
    predict_cohort(found, model, tmp_path / "out")
    assert rows(tmp_path / "out")["c"]["codes"] == "IO-TRUNC"


def test_with_more_memory_a_scan_that_was_refused_is_done(scans, tmp_path):
    found, out = find_scans(scans), tmp_path / "out"
    assert predict_cohort(found, segmenter().within(1e8), out).exit_code == 4
    assert predict_cohort(found, segmenter().within(8e9), out).exit_code == 0


def test_a_limit_changes_how_scans_are_looked_at_and_not_the_masks(scans, tmp_path):
    scan = inspect(scans / "a.nii.gz").volume
    raw = segmenter()
    free = raw(scan)
    assert free.how["strips"] == 1
    tight = raw.foresee(header_of(scans / "a.nii.gz")).demand.total * 0.9999
    bound = raw.within(tight)(scan)
    assert bound.how["predicted_gb"] <= free.how["predicted_gb"]
    assert (bound.how["strips"], bound.how["sums"]) != (1, "float32")
    assert (bound.labels.voxels != free.labels.voxels).mean() < 1e-3


def test_a_scan_at_hand_that_does_not_fit_is_refused(scans):
    with pytest.raises(Refused, match="RES-MEMORY"):
        segmenter().within(1e8)(inspect(scans / "a.nii.gz").volume)


def test_the_prediction_stands_in_the_record_of_the_run(scans, tmp_path):
    asked = Asked(predicted_gb=1.25)
    predict_cohort(find_scans(scans), segmenter(), tmp_path / "out", asked=asked)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["predicted_peak_gb"] == 1.25
