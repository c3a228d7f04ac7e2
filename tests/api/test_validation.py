"""Held-out cases are segmented and scored as the network sees them, and tell how to tidy."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch

import volunet as vn
from tests.api.held_out import bright_weights, write_case, write_run
from volunet.api.validation import validate_run
from volunet.inference.postprocess import Steps
from volunet.packaging.model_file import read_model_file

CPU = torch.device("cpu")


def run_of(folder, strays: list[int]):
    """A run whose network takes everything bright for the ball, and its held-out cases."""
    write_run(folder, bright_weights())
    return [write_case(folder, n, noise=0, stray=stray) for n, stray in enumerate(strays)]


def test_a_model_whose_cases_have_stray_parts_is_taught_to_drop_them(tmp_path):
    cases = run_of(tmp_path, [3, 3, 3, 3, 3, 3])
    validated = validate_run(tmp_path, cases, device=CPU, tolerance_mm=1)
    assert validated.choice.tidy.structures == {"ball": Steps(largest=True)}
    model = read_model_file(tmp_path)
    gain = model.tidy.gains["ball"]
    assert gain.cases == 6
    assert gain.after > gain.before + 0.01
    masks = [nib.load(tmp_path / "validation" / f"{c.case_id}.nii.gz").get_fdata() for c in cases]
    assert all(mask[2, 2, 2] == 1 for mask in masks)
    with (tmp_path / "validation" / "metrics.csv").open() as file:
        dice = [float(row["dice"]) for row in csv.DictReader(file)]
    assert np.mean(dice) == pytest.approx(gain.before)
    assert model.training.validation_dice == {"ball": pytest.approx(np.mean(dice))}
    assert (model.training.scored, model.training.held_out) == (6, 6)
    told = json.loads((tmp_path / "validation" / "tidy.json").read_text())
    assert told["structures"]["ball"]["chosen"]["largest"] is True
    segment = vn.load(tmp_path, device="cpu", engine="torch", precision="fp32")
    tidied = segment(vn.read(cases[0].images[0]))
    assert tidied.labels.voxels[0, 2, 2, 2] == 0
    assert tidied.how["tidied_ml"]["ball"]["removed"] == pytest.approx(0.027)


def test_what_one_case_in_six_speaks_for_is_not_learnt(tmp_path):
    cases = run_of(tmp_path, [3, 0, 0, 0, 0, 0])
    validated = validate_run(tmp_path, cases, device=CPU, tolerance_mm=1)
    assert not validated.choice.tidy
    assert not read_model_file(tmp_path).tidy
    assert "none gains enough" in str(validated.choice)


def test_validating_again_starts_from_untidied_masks(tmp_path):
    cases = run_of(tmp_path, [3, 3, 3, 3, 3])
    first = validate_run(tmp_path, cases, device=CPU, tolerance_mm=1)
    again = validate_run(tmp_path, cases, device=CPU, tolerance_mm=1)
    assert again.choice == first.choice
    assert again.choice.tidy


def test_a_case_that_cannot_be_read_stops_neither_scores_nor_choice(tmp_path):
    cases = run_of(tmp_path, [3, 3, 3, 3, 3, 3])
    cases[2].images[0].write_bytes(b"no scan")
    validated = validate_run(tmp_path, cases, device=CPU, tolerance_mm=1)
    assert [f.case for f in validated.findings if f.refuses] == ["case_2"]
    assert validated.choice.structures["ball"].cases == 5


def test_a_run_without_held_out_cases_is_not_validated(tmp_path):
    write_run(tmp_path, bright_weights())
    assert validate_run(tmp_path, [], device=CPU, tolerance_mm=1) is None
