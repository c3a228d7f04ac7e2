"""Clean scans become a dataset of noisy and clean ones, with the noise of magnitude MR."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import volunet as vn
from pipelines.add_noise import main, with_noise
from volunet.space.grid import Grid

ROOT = Path(__file__).parents[2]
SCANS = ROOT / "sample_data" / "mr" / "test" / "images"


def scan_of(value: float, n: int = 40) -> vn.Volume:
    return vn.Volume(np.full((1, n, n, n), value, dtype=np.float32), Grid((n, n, n), np.eye(4)))


def noise_of(value: float, sd: float) -> np.ndarray:
    return with_noise(scan_of(value), sd, np.random.default_rng(0)).voxels


def test_far_above_the_noise_it_is_normal_with_the_sd_that_was_asked_for():
    noisy = noise_of(1000.0, 0.05)
    assert noisy.dtype == np.float32
    # E = x + s^2 / 2x for x >> s; 64,000 voxels give the mean to 50 / 253.
    assert noisy.mean() == pytest.approx(1000 + 50**2 / 2000, abs=0.6)
    assert noisy.std() == pytest.approx(50, rel=0.02)


def test_in_air_it_is_rayleigh_and_never_below_0():
    voxels = np.zeros((1, 40, 40, 40), dtype=np.float32)
    voxels[:, :, :, :4] = 1000.0  # a tenth: the 99 % quantile
    scan = scan_of(0).with_voxels(voxels)
    air = with_noise(scan, 0.1, np.random.default_rng(0)).voxels[..., 4:]
    assert air.min() >= 0
    assert air.mean() == pytest.approx(100 * np.sqrt(np.pi / 2), rel=0.01)
    assert np.square(air).mean() == pytest.approx(2 * 100**2, rel=0.02)


def test_channels_have_noise_of_their_own_scale():
    voxels = np.concatenate([scan_of(10).voxels, scan_of(1000).voxels])
    noisy = with_noise(scan_of(0).with_voxels(voxels), 0.1, np.random.default_rng(0)).voxels
    assert noisy[0].std() == pytest.approx(1, rel=0.05)
    assert noisy[1].std() == pytest.approx(100, rel=0.05)


def test_values_below_0_are_no_magnitude():
    with pytest.raises(ValueError, match="no values below 0"):
        noise_of(-1.0, 0.1)


def test_a_dataset_lies_on_the_grids_of_the_scans_and_keeps_them_as_targets(tmp_path):
    words = [ROOT / "pipelines" / "add_noise.py", SCANS, tmp_path / "out", "--sd", "0.2"]
    subprocess.run([sys.executable, *map(str, words)], check=True, timeout=120, cwd=ROOT)
    names = sorted(path.name for path in SCANS.glob("*.nii.gz"))
    for kind in ("images", "targets"):
        assert sorted(path.name for path in (tmp_path / "out" / kind).iterdir()) == names
    told = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert told == {"channels": ["MR"], "targets": ["MR"]}
    for name in names:
        scan = vn.read(SCANS / name)
        noisy, clean = (vn.read(tmp_path / "out" / kind / name) for kind in ("images", "targets"))
        assert noisy.voxels.dtype == clean.voxels.dtype == np.float32
        np.testing.assert_array_equal(clean.voxels, scan.voxels.astype(np.float32))
        for grid in (noisy.grid, clean.grid):
            assert grid.shape == scan.grid.shape
            np.testing.assert_array_equal(grid.affine, scan.grid.affine)
        assert not np.array_equal(noisy.voxels, clean.voxels)


def noisy_voxels(scans: Path, out: Path, seed: int) -> dict[str, np.ndarray]:
    main(scans, out, sd=0.1, seed=seed)
    return {path.name: vn.read(path).voxels for path in (out / "images").iterdir()}


def test_a_scan_has_the_same_noise_whichever_others_there_are_and_another_under_another_name(
    tmp_path,
):
    few, more = tmp_path / "few", tmp_path / "more"
    for folder, names in ((few, "b"), (more, "abc")):
        folder.mkdir()
        for name in names:
            vn.write(scan_of(100, 6), folder / f"{name}.nii.gz")
    alone = noisy_voxels(few, tmp_path / "1", seed=0)
    among = noisy_voxels(more, tmp_path / "2", seed=0)
    other = noisy_voxels(few, tmp_path / "3", seed=1)
    np.testing.assert_array_equal(alone["b.nii.gz"], among["b.nii.gz"])
    assert not np.array_equal(among["a.nii.gz"], among["b.nii.gz"])
    assert not np.array_equal(alone["b.nii.gz"], other["b.nii.gz"])


def test_a_folder_without_scans_is_told(tmp_path):
    with pytest.raises(SystemExit, match=r"holds no \.nii\.gz file"):
        main(tmp_path, tmp_path / "out", sd=0.1, seed=0)
