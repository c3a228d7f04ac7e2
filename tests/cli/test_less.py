"""`predict --roi --deadline --everywhere` by the command, on the bundled scans."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.cli.command import SAMPLE, SMOKE, volunet


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home):
    done = volunet("train", SAMPLE / "ct", "-o", home / "run", "-r", SMOKE, "-d", "cpu", home=home)
    assert done.returncode == 0, done.stderr
    return home / "run"


@pytest.fixture(scope="module")
def scan(home):
    path = sorted((SAMPLE / "ct" / "images").glob("*.nii.gz"))[0]
    return shutil.copy(path, home / "scan.nii.gz")


def predict(home, run, scan, name, *flags):
    out = home / name
    done = volunet(
        "predict", "-i", scan, "-m", run, "-o", out, "--engine", "torch", *flags, home=home
    )
    rows = []
    if (out / "cases.csv").exists():
        with (out / "cases.csv").open() as file:
            rows = list(csv.DictReader(file))
    return done, rows, out


def mask_of(out):
    return np.asarray(nib.load(out / "scan.nii.gz").dataobj)


def test_a_deadline_that_is_far_gives_a_mask_and_one_that_is_too_near_gives_a_status(
    home, run, scan
):
    far, rows, out = predict(home, run, scan, "far", "--deadline", "2m")
    assert far.returncode == 0, far.stderr
    assert mask_of(out).shape == nib.load(scan).shape
    near, rows, out = predict(home, run, scan, "near", "--deadline", "0.0001s")
    assert near.returncode == 4
    assert rows[0]["status"] == "timeout"
    assert rows[0]["codes"] == "RUN-TIMEOUT"
    assert "Allow more time" in rows[0]["message"]
    assert not (out / "scan.nii.gz").exists()


@pytest.mark.parametrize("deadline", ["5steps", "60"])
def test_a_deadline_that_is_no_time_is_a_usage_error(home, run, scan, deadline):
    done, _, _ = predict(home, run, scan, "no", "--deadline", deadline)
    assert done.returncode == 2
    assert "such as 60s" in done.stderr


def test_structures_by_name_a_mask_by_its_file_and_an_unknown_name(home, run, scan):
    names = json.loads((SAMPLE / "ct" / "labels.json").read_text())["labels"]
    name, value = next((n, v) for n, v in names.items() if v)
    some, _, out = predict(home, run, scan, "some", "--roi", name)
    assert some.returncode == 0, some.stderr
    assert set(np.unique(mask_of(out))) <= {0, value}
    image = nib.load(scan)
    roi = np.zeros(image.shape, dtype=np.uint8)
    roi[tuple(slice(n // 2, n // 2 + 4) for n in image.shape)] = 255
    nib.save(nib.Nifti1Image(roi, image.affine), home / "roi.nii.gz")
    place, _, out = predict(home, run, scan, "place", "--everywhere", "--roi", home / "roi.nii.gz")
    assert place.returncode == 0, place.stderr
    assert mask_of(out).shape == image.shape
    told = json.loads((out / "run.json").read_text())["arguments"]
    assert told["roi"] == ["roi.nii.gz"]
    unknown, _, _ = predict(home, run, scan, "unknown", "--roi", "elbow")
    assert unknown.returncode == 2
    assert name in unknown.stderr
