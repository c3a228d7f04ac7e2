"""Drawn scenes are the same from the same seed, and an image is its target at half the size."""

import json

import numpy as np
import pytest

import volunet as vn
from benchmarks.scenes import SIZE, block_mean, scene, write_scenes


def test_a_scene_depends_on_its_number_and_seed_alone(tmp_path):
    write_scenes(tmp_path / "one", [7])
    write_scenes(tmp_path / "two", [6, 7])
    one, two = (tmp_path / name / "targets" / "scene_007.png" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != (two.parent / "scene_006.png").read_bytes()
    write_scenes(tmp_path / "three", [7], seed=1)
    assert one.read_bytes() != (tmp_path / "three" / "targets" / one.name).read_bytes()


def test_an_image_is_the_mean_of_its_target(tmp_path):
    write_scenes(tmp_path, range(2))
    told = json.loads((tmp_path / "labels.json").read_text())
    assert told == {"channels": ["grey"], "targets": ["grey"]}
    for name in ("scene_000.png", "scene_001.png"):
        small, large = (vn.read(tmp_path / kind / name).voxels for kind in ("images", "targets"))
        assert small.shape == (1, SIZE // 2, SIZE // 2, 1)
        assert large.shape == (1, SIZE, SIZE, 1)
        assert small.dtype == large.dtype == np.uint8
        halved = block_mean(large[0, :, :, 0], 2)
        assert np.abs(small[0, :, :, 0] - halved).max() <= 0.5


def test_the_mean_of_blocks_is_worked_out_by_hand():
    values = np.array([[0, 2, 5, 5], [4, 6, 5, 9]], dtype=np.uint8)
    np.testing.assert_array_equal(block_mean(values, 2), [[3, 6]])


@pytest.mark.parametrize("number", range(4))
def test_scenes_have_sharp_edges(number):
    drawn = scene(np.random.default_rng([0, number])).astype(float)
    assert np.abs(np.diff(drawn, axis=0)).max() > 60
    assert drawn.std() > 15
