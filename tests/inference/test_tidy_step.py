"""The ninth step of the path: a model's label maps are tidied as the model says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tests.test_path import segmenter, tilted_scan
from volunet.inference.postprocess import Steps, Tidy
from volunet.space.volume import Volume


@pytest.fixture(scope="module")
def scan() -> Volume:
    """A ball with a hole in it, and a small cube in a corner."""
    scan, _ = tilted_scan("LPI")
    voxels = scan.voxels.copy()
    voxels[0, 22:26, 23:27, 9:11] = -200
    voxels[0, 2:6, 2:6, 2:5] = 600
    return scan.with_voxels(voxels)


def test_a_model_that_says_so_keeps_the_largest_part_and_fills_it(scan):
    raw = segmenter()
    tidy = replace(raw, tidy=Tidy(structures={"ball": Steps(largest=True, holes=True)}))
    found, tidied = raw(scan), tidy(scan)
    before, count = ndimage.label(found.labels.voxels[0] == 205)
    assert count == 2
    ball, cube = sorted((1, 2), key=lambda part: -np.count_nonzero(before == part))
    after = tidied.labels.voxels[0] == 205
    assert after[23, 24, 10]
    assert not found.labels.voxels[0, 23, 24, 10]
    assert not (after & (before == cube)).any()
    assert after[before == ball].all()
    filled = np.count_nonzero(after) - np.count_nonzero(before == ball)
    voxel_ml = scan.grid.voxel_ml
    told = {"removed": np.count_nonzero(before == cube) * voxel_ml, "filled": filled * voxel_ml}
    assert tidied.how["tidied_ml"] == {"ball": pytest.approx(told)}
    assert found.how["tidied_ml"] == {}
