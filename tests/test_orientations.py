"""One real brain in all 48 axis orders and flips gives one mask, on each file's own grid.

The brain has no labels, so the structure is made here: what is brighter than the mean of the head.
"""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from volunet.api.asked import Wanted
from volunet.api.models import load
from volunet.api.training import train
from volunet.cohort.runner import predict_cohort
from volunet.data.scans import find_scans
from volunet.io.read import read
from volunet.io.write import write
from volunet.recipe import Recipe

SCANS = Path(__file__).parents[2] / "shared" / "data" / "orientations"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCANS.is_dir(), reason="the real scans are not beside the project"),
]


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """Masks of the 48 files by a network trained for a few steps on four of them."""
    folder = tmp_path_factory.mktemp("orientations")
    for place in ("images", "labels"):
        (folder / "set" / place).mkdir(parents=True)
    for name in ("RAS", "LPS", "PIR", "SLA"):
        scan = read(SCANS / f"{name}.nii.gz")
        bright = (scan.voxels > scan.voxels.mean()).astype(np.uint8)
        write(scan, folder / "set" / "images" / f"{name}.nii.gz")
        write(scan.with_voxels(bright), folder / "set" / "labels" / f"{name}.nii.gz")
    recipe = Recipe(
        name="bright",
        budget="25steps",
        plan={"features": [8, 16], "strides": [[2, 2, 2]], "kernels": [[3, 3, 3]] * 2,
              "patch": [32, 32, 32]},
    )  # fmt: skip
    wanted = Wanted(device="cpu", cache=folder / "cache", accept=("SET-LEAK",))
    run = train(folder / "set", folder / "run", recipe, wanted=wanted)
    outcome = predict_cohort(find_scans(SCANS), load(run.model), folder / "masks")
    assert outcome.exit_code == 0
    return folder / "masks"


def test_every_file_has_its_row(masks):
    with (masks / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 48


def test_all_masks_are_one_once_turned_to_ras(masks):
    expected = nib.as_closest_canonical(nib.load(masks / "RAS.nii.gz"))
    voxels = np.asarray(expected.dataobj)
    assert 0.02 < voxels.mean() < 0.98
    for path in sorted(SCANS.glob("*.nii.gz")):
        scan, mask = nib.load(path), nib.load(masks / path.name)
        assert mask.shape == scan.shape
        np.testing.assert_array_equal(mask.affine, scan.affine)
        turned = nib.as_closest_canonical(mask)
        np.testing.assert_array_equal(np.asarray(turned.dataobj), voxels, err_msg=path.name)
