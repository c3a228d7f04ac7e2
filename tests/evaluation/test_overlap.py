"""Overlap agrees with nnU-Net's figures, with plain numpy, and with a world worked by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volunet.errors import LabelError, ShapeError
from volunet.evaluation.overlap import Overlap, confusion, overlap_of, overlaps, to_classes

REFERENCE = Path(__file__).parents[3] / "shared/data/nnunet_reference/per_case_validation.csv"

VALUES = (5, 205, 1)


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs nnU-Net's figures beside the project")
def test_dice_and_iou_agree_with_nnunet():
    with REFERENCE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ours = [Overlap(tp=int(r["TP"]), fp=int(r["FP"]), fn=int(r["FN"])) for r in rows]
    assert len(ours) >= 400
    np.testing.assert_allclose([o.dice for o in ours], [float(r["Dice"]) for r in rows], rtol=1e-12)
    np.testing.assert_allclose([o.iou for o in ours], [float(r["IoU"]) for r in rows], rtol=1e-12)
    assert [o.prediction_vox for o in ours] == [int(r["n_pred"]) for r in rows]
    assert [o.reference_vox for o in ours] == [int(r["n_ref"]) for r in rows]


def label_maps(kind: str = "u1"):
    voxels = st.sampled_from([0, 1, 5, 205, 7])
    return st.tuples(*[st.integers(1, 6)] * 3).flatmap(
        lambda shape: st.tuples(*[arrays(kind, shape, elements=voxels)] * 2)
    )


@given(st.sampled_from(["u1", "i2", "u2", "i8", "u8", "f4"]).flatmap(label_maps))
def test_counts_are_those_of_plain_masks(maps):
    reference, prediction = maps
    for value, found in overlaps(reference, prediction, VALUES).items():
        a, b = reference == value, prediction == value
        assert found == Overlap(int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum()))


@given(label_maps())
def test_ignored_voxels_count_for_nobody(maps):
    reference, prediction = maps
    judged = reference != 7
    without = overlaps(reference[judged], prediction[judged], VALUES)
    assert overlaps(reference, prediction, VALUES, ignore=7) == without


@given(label_maps())
def test_a_region_counts_like_the_union_of_its_labels(maps):
    reference, prediction = maps
    counts = confusion(*to_classes(reference, prediction, VALUES), classes=3)
    a, b = (np.isin(m, [5, 1]).astype("u1") for m in maps)
    assert overlap_of(counts, [1, 3]) == overlaps(a, b, [1])[1]
    assert counts.sum() == reference.size


@given(label_maps())
def test_swapping_reference_and_prediction_keeps_dice(maps):
    there, back = overlaps(*maps, VALUES), overlaps(*maps[::-1], VALUES)
    for value in VALUES:
        np.testing.assert_equal(there[value].dice, back[value].dice)
        np.testing.assert_equal(there[value].iou, back[value].iou)


def test_five_voxels_worked_by_hand():
    found = overlaps(np.array([0, 5, 5, 205, 0]), np.array([5, 5, 0, 205, 0]), [5, 205, 9])
    assert found[5] == Overlap(tp=1, fp=1, fn=1)
    assert found[5].dice == 0.5
    assert found[5].iou == pytest.approx(1 / 3)
    assert found[205].dice == found[205].iou == 1
    assert np.isnan([found[9].dice, found[9].iou]).all()


def test_one_empty_mask_scores_nothing():
    for overlap in (Overlap(tp=0, fp=3, fn=0), Overlap(tp=0, fp=0, fn=3)):
        assert overlap.dice == overlap.iou == 0


def test_huge_label_values_are_counted():
    maps = np.array([0, 2_000_000_000, 3]), np.array([3, 2_000_000_000, 3])
    found = overlaps(*maps, [2_000_000_000, 3])
    assert found == {2_000_000_000: Overlap(1, 0, 0), 3: Overlap(1, 1, 0)}


def test_negative_values_are_no_background():
    reference, prediction = to_classes(np.array([-1, 0]), np.array([0, 300], dtype="i2"), [1])
    assert (reference.tolist(), prediction.tolist()) == ([2, 0], [0, 2])


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeError, match="one shape"):
        overlaps(np.zeros((2, 2), int), np.zeros((2, 3), int), [1])


@pytest.mark.parametrize("values", [[0, 1], [2, 2]])
def test_values_that_cannot_be_told_apart_are_refused(values):
    with pytest.raises(LabelError, match="above 0"):
        overlaps(np.zeros(3, int), np.zeros(3, int), values)
