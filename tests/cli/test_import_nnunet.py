"""`volunet import-nnunet`, as a person runs it."""

from __future__ import annotations

import json

import numpy as np

from tests.cli.command import volunet
from tests.golden.nnunet_cases import CASES, plans_of
from tests.packaging.nnunet_model import checkpoint_of, golden, scan_of, write_folder
from volunet.io.read import read
from volunet.io.write import write


def test_a_trained_nnunet_is_imported_and_predicts_its_masks(tmp_path):
    folder = write_folder(tmp_path / "trained", "thick")
    done = volunet("import-nnunet", folder, "-o", tmp_path / "model", "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["networks"] == 2
    (tmp_path / "scans").mkdir()
    write(scan_of("thick"), tmp_path / "scans" / "case_0000.nii.gz")
    flags = ("--best", "--engine", "torch", "--precision", "fp32")
    paths = ("-i", tmp_path / "scans", "-m", tmp_path / "model", "-o", tmp_path / "out")
    done = volunet("predict", *paths, *flags, home=tmp_path)
    assert done.returncode == 0, done.stderr
    labels, expected = read(tmp_path / "out" / "case.nii.gz").voxels[0], golden("thick")["labels"].T
    union = (labels > 0) | (expected > 0)
    assert (labels == expected)[union].mean() > 0.998
    assert np.unique(labels).tolist() == [0, 1, 2]


def test_a_cascade_is_told_not_yet_with_the_exit_code_of_usage(tmp_path):
    plans = plans_of(CASES["slices"])
    plans["configurations"] = {"3d_lowres": plans["configurations"]["2d"]}
    checkpoint = checkpoint_of("slices", init_args={"configuration": "3d_lowres"})
    folder = write_folder(tmp_path / "trained", "slices", plans=plans, checkpoint=checkpoint)
    done = volunet("import-nnunet", folder, "-o", tmp_path / "model", home=tmp_path)
    assert done.returncode == 2
    assert "3d_lowres is not yet supported" in done.stderr
    assert not (tmp_path / "model").exists()
