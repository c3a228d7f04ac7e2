"""One case is scored label by label, in mm and ml, and only where both masks lie on one grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volunet.evaluation.score import averaged_dice, score_case
from volunet.evaluation.surface import surface_distances
from volunet.findings import Refused
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume

ORGANS = Labels(
    structures={"liver": 5, "spleen": 7, "tumour": 205},
    regions={"all": (5, 205), "either": (205, 7)},
    ignore=255,
)
SPACING = (1.0, 2.0, 5.0)


def label_map(voxels, spacing=SPACING, offset=(0.0, 0.0, 0.0)) -> Volume:
    voxels = np.asarray(voxels)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = offset
    return Volume(voxels[None], Grid(voxels.shape, affine))


def row(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8)[:, None, None]


@given(
    st.tuples(*[st.integers(1, 6)] * 3).flatmap(
        lambda shape: st.tuples(
            arrays("u1", shape, elements=st.sampled_from([0, 5, 205, 255])),
            arrays("u1", shape, elements=st.sampled_from([0, 5, 205, 7])),
        )
    )
)
def test_every_row_is_that_of_its_plain_mask(maps):
    reference, prediction = maps
    judged = reference != 255
    scores = score_case("a", label_map(reference), label_map(prediction), ORGANS, tolerance_mm=2.0)
    assert [s.label for s in scores] == ["liver", "spleen", "tumour", "all", "either"]
    for score, values in zip(scores, [(5,), (7,), (205,), (5, 205), (205, 7)], strict=True):
        a, b = (np.isin(m, values) & judged for m in maps)
        expected = surface_distances(a, b, SPACING, image=a.shape)
        np.testing.assert_equal(score.dice, 2 * (a & b).sum() / ((a.sum() + b.sum()) or np.nan))
        np.testing.assert_equal(score.iou, (a & b).sum() / ((a | b).sum() or np.nan))
        np.testing.assert_equal(score.hd95_mm, expected.hausdorff())
        np.testing.assert_equal(score.nsd, expected.surface_dice(2.0))
        np.testing.assert_equal(score.assd_mm, expected.assd)
        assert score.volume_ref_ml == pytest.approx(a.sum() * 0.01)
        assert score.volume_pred_ml == pytest.approx(b.sum() * 0.01)
        assert score.both_empty == (not a.any() and not b.any())


def test_five_voxels_worked_by_hand():
    reference, prediction = row(5, 5, 0, 205, 255), row(5, 0, 0, 0, 205)
    liver, spleen, tumour, *_ = score_case("a", label_map(reference), label_map(prediction), ORGANS)
    assert (liver.dice, liver.iou) == (pytest.approx(2 / 3), 0.5)
    assert liver.hd95_mm == 1
    assert liver.volume_ref_ml == pytest.approx(0.02)
    assert (tumour.dice, tumour.nsd) == (0, 0)
    assert tumour.hd95_mm == tumour.assd_mm == pytest.approx((5**2 + 2**2 + 5**2) ** 0.5)
    assert spleen.both_empty
    assert np.isnan([spleen.dice, spleen.iou, spleen.hd95_mm, spleen.nsd, spleen.assd_mm]).all()


def test_whole_numbers_stored_as_floats_score_alike():
    maps = row(5, 5, 0, 205, 0), row(5, 0, 0, 205, 0)
    as_bytes, as_floats = (
        score_case("a", *(label_map(m.astype(kind)) for m in maps), ORGANS) for kind in ("u1", "f4")
    )
    np.testing.assert_equal([s.dice for s in as_bytes], [s.dice for s in as_floats])


@pytest.mark.parametrize(
    "prediction",
    [
        label_map(row(5, 0, 0), offset=(0, 3.0, 0)),
        label_map(row(5, 0, 0), spacing=(1.5, 2, 5)),
        label_map(row(5, 0, 0, 0)),
    ],
)
def test_masks_on_other_grids_are_refused(prediction):
    with pytest.raises(Refused, match="GEO-MISMATCH") as caught:
        score_case("a", label_map(row(5, 0, 0)), prediction, ORGANS)
    assert caught.value.findings[0].case == "a"


def test_the_displacement_is_told_in_mm():
    moved = label_map(row(5, 0, 0), offset=(0, 3.0, 4.0))
    with pytest.raises(Refused, match="5 mm") as caught:
        score_case("a", label_map(row(5, 0, 0)), moved, ORGANS)
    assert caught.value.findings[0].numbers["displacement_mm"] == pytest.approx(5)


def test_undeclared_values_are_refused_on_either_side():
    with pytest.raises(Refused, match=r"2 voxels of the reference have the values \[3, 9\]"):
        score_case("a", label_map(row(3, 9, 5)), label_map(row(0, 0, 5)), ORGANS)
    with pytest.raises(Refused, match=r"1 voxels of the prediction have the values \[255\]"):
        score_case("a", label_map(row(5, 5, 5)), label_map(row(0, 255, 5)), ORGANS)


def test_fractions_are_refused():
    half = label_map(np.full((2, 2, 2), 0.5, dtype="f4"))
    with pytest.raises(Refused, match="LBL-FRACTION"):
        score_case("a", half, half, ORGANS)


def test_probabilities_are_refused_with_advice():
    both = Volume(np.zeros((2, 3, 3, 3)), Grid((3, 3, 3), np.eye(4)))
    with pytest.raises(Refused, match=r"IMG-CHANNELS.*not probabilities"):
        score_case("a", both, both, ORGANS)


def test_what_means_are_over_is_scored_by_itself():
    labels = Labels(structures={"rim": 1, "core": 2}, regions={"whole": (1, 2), "core": (2,)})
    reference, prediction = np.array([[1, 1, 2, 2, 0]]), np.array([[1, 2, 2, 0, 0]])
    assert averaged_dice(reference, prediction, labels) == pytest.approx([6 / 7, 2 / 4])
    some = averaged_dice(reference, prediction, labels, [True, False, True])
    assert np.isnan(some[0])
    assert some[1] == 0.5
    plain = Labels(structures=labels.structures)
    assert averaged_dice(reference, prediction, plain) == pytest.approx([2 / 3, 2 / 4])


def test_what_was_not_drawn_has_a_row_without_numbers():
    maps = [label_map(row(5, 7, 205, 0))] * 2
    scores = score_case("a", *maps, ORGANS, drawn=("liver", "spleen"))
    status = {s.label: s.status for s in scores}
    assert status == {
        "liver": "ok", "spleen": "ok", "tumour": "undrawn", "all": "undrawn", "either": "undrawn"
    }  # fmt: skip
    assert all(np.isnan(s.dice) == (s.status == "undrawn") for s in scores)
    assert not any(s.both_empty for s in scores if s.status == "undrawn")
