"""One case of values is scored target by target, in the values' own unit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics.regression import MAEMetric, PSNRMetric, RMSEMetric

from volunet.evaluation.value_summary import summarise_values, values_to_csv
from volunet.evaluation.values import ValueScore, score_values, unscored
from volunet.findings import Refused
from volunet.space.grid import Grid
from volunet.space.volume import Volume

images = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: arrays("f4", shape, elements=st.floats(-3000, 3000, width=32))
)
pairs = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: st.tuples(*[arrays("f4", shape, elements=st.floats(-3000, 3000, width=32))] * 2)
)


def volume(*channels, shift_mm=0.0):
    """One channel for each image (I, J, K)."""
    affine = np.eye(4)
    affine[0, 3] = shift_mm
    return Volume(np.stack(channels), Grid(channels[0].shape, affine))


def row(*values, kind="f4"):
    return np.array(values, dtype=kind)[:, None, None]


def score(reference, prediction):
    (found,) = score_values("a", volume(reference), volume(prediction), ("CT",))
    return found


def test_four_voxels_worked_by_hand():
    found = score(row(0, 10, 20, 30), row(3, 10, 16, 30))
    assert (found.case_id, found.target, found.status) == ("a", "CT", "ok")
    assert found.mae == 7 / 4
    assert found.rmse == 2.5
    assert found.value_range == 30
    assert found.psnr_db == pytest.approx(20 * math.log10(30 / 2.5))
    assert found.n_vox == 4


def test_bytes_do_not_wrap():
    found = score(row(0, 250, kind="u1"), row(250, 0, kind="u1"))
    assert (found.mae, found.rmse, found.value_range) == (250, 250, 250)
    assert score(row(0, 1, kind="?"), row(1, 1, kind="?")).mae == 0.5


@given(pairs)
def test_errors_are_those_of_monai(both):
    found = score(*both)
    reference, prediction = (torch.from_numpy(side)[None, None].double() for side in both)
    assert found.mae == pytest.approx(float(MAEMetric()(prediction, reference)))
    assert found.rmse == pytest.approx(float(RMSEMetric()(prediction, reference)))
    if found.value_range and found.rmse:
        expected = float(PSNRMetric(max_val=found.value_range)(prediction, reference))
        assert found.psnr_db == pytest.approx(expected, abs=1e-6)


@given(pairs)
def test_errors_are_the_same_both_ways(both):
    there, back = score(*both), score(*both[::-1])
    assert (there.mae, there.rmse) == (back.mae, back.rmse)


@given(images)
def test_equal_values_have_no_error(image):
    found = score(image, image)
    assert (found.mae, found.rmse) == (0, 0)
    if image.max() > image.min():
        assert (found.psnr_db, found.ssim) == (math.inf, 1)
    else:
        assert np.isnan([found.psnr_db, found.ssim]).all()


@given(images, st.integers(-500, 500))
def test_a_constant_that_is_added_is_the_error(image, added):
    image = np.rint(image)
    found = score(image, image + np.float32(added))
    assert (found.mae, found.rmse) == pytest.approx((abs(added), abs(added)))


def test_targets_are_scored_each_by_its_own_range():
    reference = volume(row(0, 1), row(0, 1000))
    prediction = volume(row(0, 0.5), row(0, 500))
    ct, pet = score_values("a", reference, prediction, ("CT", "PET"))
    assert (ct.target, pet.target) == ("CT", "PET")
    assert pet.mae == 1000 * ct.mae
    assert pet.psnr_db == pytest.approx(ct.psnr_db)


def test_a_prediction_on_another_grid_is_refused():
    right = row(1, 2, 3)
    with pytest.raises(Refused, match=r"GEO-MISMATCH.*3 mm") as caught:
        score_values("a", volume(right), volume(right, shift_mm=3), ("CT",))
    assert caught.value.findings[0].case == "a"
    with pytest.raises(Refused, match="GEO-MISMATCH"):
        score_values("a", volume(right), volume(row(1, 2)), ("CT",))


def test_other_channels_than_targets_are_refused():
    one, two = volume(row(1, 2)), volume(row(1, 2), row(1, 2))
    with pytest.raises(Refused, match=r"IMG-CHANNELS: The prediction has 2 .* 1 targets"):
        score_values("a", one, two, ("CT",))
    with pytest.raises(Refused, match=r"IMG-CHANNELS: The reference has 1 .* 2 targets: CT, PET"):
        score_values("a", one, two, ("CT", "PET"))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_refused_and_not_left_out(wrong):
    with pytest.raises(Refused, match="IMG-NONFINITE: 1 values of the prediction"):
        score(row(1, 2), row(1, wrong))


def scored(case, psnr_db, **more):
    return ValueScore(case_id=case, target="CT", mae=2.0, psnr_db=psnr_db, **more)


def test_what_has_no_finite_number_is_counted_and_enters_no_mean():
    scores = [
        scored("a", 30.0, ssim=0.5, value_range=9.0),
        scored("b", 40.0, ssim=0.75, value_range=9.0),
        scored("c", math.inf, ssim=1.0, value_range=9.0),
        scored("d", math.nan, value_range=0.0),
        *unscored("e", ("CT",), "missing"),
        *unscored("f", ("CT",), "refused"),
    ]
    summary = summarise_values(scores, ("CT",))
    assert summary["task"] == "values"
    told = summary["targets"]["CT"]
    counts = ("n_equal", "n_constant", "n_missing", "n_refused")
    assert [told[name] for name in counts] == [1, 1, 1, 1]
    assert (told["psnr_db"]["n"], told["psnr_db"]["mean"]) == (2, 35)
    assert (told["ssim"]["n"], told["ssim"]["mean"]) == (3, 0.75)
    assert (told["mae"]["n"], told["mae"]["interval"]) == (4, [2, 2])
    assert told["rmse"] == {"n": 0, "mean": None, "interval": [None, None], "median": None}
    header, *lines = values_to_csv(scores).splitlines()
    assert header == "case_id,target,mae,rmse,psnr_db,ssim,value_range,n_vox,status"
    assert lines[2] == "c,CT,2,,inf,1,9,0,ok"
    assert lines[4] == "e,CT,,,,,,0,missing"
