"""What the benchmarks of estimated values say beside the command's own scores."""

import json
from pathlib import Path

import numpy as np
import pytest

import volunet as vn
from benchmarks import denoise, superres
from benchmarks.values import Panel, beside, draw, middle_case, set_aside, table
from pipelines.add_noise import with_noise
from volunet.space.grid import Grid

OURS = {f"case_{n}": {"psnr_db": 30.0 + n, "ssim": 0.9} for n in range(3)}
THEIRS = {case: {"psnr_db": row["psnr_db"] - 2, "ssim": 0.8} for case, row in OURS.items()}


def test_methods_are_set_beside_ours_case_by_case():
    told = beside({"noisy": THEIRS, "volunet": OURS})
    assert told["means"]["volunet"] == {"psnr_db": 31.0, "ssim": 0.9}
    # Two decibels in every case: the interval has no width.
    assert told["gain"] == {"noisy": {"psnr_db": [2.0, 2.0, 2.0], "ssim": [0.1, 0.1, 0.1]}}
    assert told["cases"]["case_1"]["noisy"] == {"psnr_db": 29.0, "ssim": 0.8}
    assert json.loads(json.dumps(told)) == told
    *_, noisy, volunet = table(told).splitlines()
    assert noisy.startswith("| noisy | 29.00 | 0.8000 | +2.00 (2.00 to 2.00) |")
    assert volunet == "| volunet | 31.00 | 0.9000 |  |  |"


def test_the_case_that_is_shown_is_neither_the_best_nor_the_worst():
    assert middle_case(OURS) == "case_1"


def dataset(folder: Path, cases: list[str]) -> Path:
    for kind in ("images", "targets"):
        (folder / kind).mkdir(parents=True)
        for case in cases:
            (folder / kind / f"{case}.nii.gz").write_text(f"{kind} {case}")
    (folder / "labels.json").write_text("{}")
    return folder


def test_fold_0_holds_out_one_patient_in_three(tmp_path):
    data = dataset(tmp_path / "data", [f"sts_{n:03d}" for n in range(7)])
    train, held_out = denoise.write_splits(data, tmp_path / "splits.json")
    assert held_out == ["sts_000", "sts_003", "sts_006"]
    folds = json.loads((tmp_path / "splits.json").read_text())
    assert folds[0] == {"train": train, "val": held_out}
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(train + held_out)
    set_aside(data, [f"{case}.nii.gz" for case in held_out], tmp_path / "aside")
    aside = sorted(path.name for path in (tmp_path / "aside" / "targets").iterdir())
    assert aside == [f"{case}.nii.gz" for case in held_out]


def test_a_patient_who_is_there_twice_is_refused(tmp_path):
    data = dataset(tmp_path, ["sts_001_mr", "sts_001_pet", "sts_002_mr"])
    with pytest.raises(ValueError, match=r"there twice: \['001'\]"):
        denoise.write_splits(data, tmp_path / "splits.json")


def test_the_gaussian_is_as_wide_in_mm_along_every_axis():
    voxels = np.zeros((1, 41, 41, 21), dtype=np.float32)
    voxels[0, 20, 20, 10] = 1.0
    scan = vn.Volume(voxels, Grid((41, 41, 21), np.diag([1.0, 1.0, 2.0, 1.0])))
    spread = denoise.smooth(scan, 3.0)[0]
    assert spread[26, 20, 10] == pytest.approx(spread[20, 20, 13], rel=0.05)  # 6 mm away


def test_more_noise_wants_a_wider_gaussian(tmp_path):
    rng = np.random.default_rng(0)
    i, j, k = np.indices((24, 24, 12))
    clean = 500 + 300 * np.sin(i / 3) * np.sin(j / 3) * np.sin(k / 2)
    scan = vn.Volume(clean[None].astype(np.float32), Grid((24, 24, 12), np.eye(4)))
    widths = []
    for sd in (0.01, 0.3):
        folder = tmp_path / str(sd)
        for kind, volume in (("images", with_noise(scan, sd, rng)), ("targets", scan)):
            (folder / kind).mkdir(parents=True)
            vn.write(volume, folder / kind / "sts_001.nii.gz")
        widths.append(denoise.best_width(folder, ["sts_001"]))
    assert widths[0] < widths[1]


def test_the_middle_plane_is_looked_at_from_the_feet():
    voxels = np.zeros((1, 4, 6, 3))
    voxels[0, 3, 5, 1] = 1.0  # right, front
    plane = denoise.middle_plane(vn.Volume(voxels, Grid((4, 6, 3), np.eye(4))))
    assert plane.shape == (6, 4)
    assert plane[0, 0] == 1


@pytest.mark.parametrize("how", [superres.by_torch, superres.by_pillow])
def test_bicubic_enlarges_columns_and_rows_and_keeps_a_ramp(how):
    pytest.importorskip("PIL")
    ramp = np.repeat(
        np.arange(0, 80, 4, dtype=np.uint8)[:, None], 10, axis=1
    )  # 20 columns, 10 rows
    large = how(ramp)
    assert large.shape == (40, 20)
    assert large.dtype == np.uint8
    # Pixel n of the enlarged one lies at (n - 0.5) / 2 of the small one.
    wanted = 4 * (np.arange(40) - 0.5) / 2
    assert np.abs(large[4:-4, 10] - wanted[4:-4]).max() <= 0.5


def test_a_picture_of_panels_is_written(tmp_path):
    panel = Panel("a", np.eye(8), (0, 1))
    draw([[panel, panel], [panel, panel]], tmp_path / "new" / "panels.png")
    assert (tmp_path / "new" / "panels.png").read_bytes().startswith(b"\x89PNG")
