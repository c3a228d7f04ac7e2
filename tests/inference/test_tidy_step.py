"""The ninth step of the path: a model's label maps are tidied as the model says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.test_path import segmenter, tilted_scan
from volunet.inference.postprocess import Steps, Tidy
from volunet.space.components import label_components
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
    before, sizes = label_components(found.labels.voxels[0] == 205)
    assert len(sizes) == 2
    after = tidied.labels.voxels[0] == 205
    assert after[23, 24, 10]
    assert not found.labels.voxels[0, 23, 24, 10]
    assert not (after & (before == 2)).any()
    assert after[before == 1].all()
    filled = np.count_nonzero(after) - sizes[0]
    voxel_ml = scan.grid.voxel_ml
    told = {"removed": sizes[1] * voxel_ml, "filled": filled * voxel_ml}
    assert tidied.how["tidied_ml"] == {"ball": pytest.approx(told)}
    assert found.how["tidied_ml"] == {}
