"""Surface distances agree with DeepMind's package, and with five voxels worked by hand."""

import numpy as np
import pytest
import surface_distance
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volunet.errors import ShapeError
from volunet.evaluation.surface import surface_distances

# It calls scipy by a namespace that is going away.
pytestmark = pytest.mark.filterwarnings("ignore:Please.*scipy.ndimage:DeprecationWarning")

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
SPACINGS = st.tuples(*[st.floats(0.3, 5)] * 3)


@st.composite
def pairs(draw, shapes=SHAPES):
    """Two masks of one shape with voxels in both, often touching the border."""
    shape = draw(shapes)
    if draw(st.booleans()):
        masks = [draw(arrays(bool, shape)) for _ in range(2)]
    else:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        masks = [rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.95])) for _ in range(2)]
    assume(masks[0].any() and masks[1].any())
    return masks


@given(pairs(), SPACINGS)
def test_agrees_with_deepmind(masks, spacing):
    ours = surface_distances(*masks, spacing)
    theirs = surface_distance.compute_surface_distances(*masks, spacing)
    # Where a step of the areas' sum falls on 95 % its rounding decides, so ask on both sides.
    low, high = (
        surface_distance.compute_robust_hausdorff(theirs, 95 + margin) for margin in (-2e-4, 2e-4)
    )
    assert low * (1 - 1e-6) <= ours.hausdorff(95) <= high * (1 + 1e-6)
    np.testing.assert_allclose(
        ours.hausdorff(100), surface_distance.compute_robust_hausdorff(theirs, 100), rtol=1e-6
    )
    averages = surface_distance.compute_average_surface_distance(theirs)
    np.testing.assert_allclose(ours.average_distances, averages, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.assd, np.mean(averages), rtol=1e-6, atol=1e-9)


@given(pairs(), SPACINGS, st.sampled_from([0.0, 0.77, 1.0, 2.5]))
def test_surface_dice_agrees_with_deepmind(masks, spacing, tolerance_mm):
    theirs = surface_distance.compute_surface_distances(*masks, spacing)
    distances = np.concatenate([v for k, v in theirs.items() if k.startswith("distances")])
    assume(not np.isclose(distances, tolerance_mm, rtol=0, atol=1e-9).any() or tolerance_mm == 0)
    np.testing.assert_allclose(
        surface_distances(*masks, spacing).surface_dice(tolerance_mm),
        surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance_mm),
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("spacing_mm", "tolerance_mm"), [(1.00000002, 1.0), (float(np.float32(0.2)), 1.0), (0.8, 0.8)]
)
def test_a_distance_of_just_the_tolerance_is_within_it(spacing_mm, tolerance_mm):
    """A tilted grid of 1 mm has 1.00000002 mm, and NIfTI keeps 0.2 mm as a little more."""
    cube = np.zeros((16, 16, 16), dtype=bool)
    cube[4:9, 4:9, 4:9] = True
    moved = np.roll(cube, round(tolerance_mm / spacing_mm), axis=2)
    found = surface_distances(cube, moved, (float(np.float32(spacing_mm)),) * 3)
    assert found.surface_dice(tolerance_mm) == 1.0


def test_agrees_with_deepmind_on_an_organ_sized_pair():
    grid = np.indices((40, 48, 20))
    ball = (
        (grid - np.array([19, 22, 9])[:, None, None, None]) ** 2 * [[[[1]]], [[[1]]], [[[9]]]]
    ).sum(0)
    masks, spacing = (ball < 300, np.roll(ball < 260, 3, axis=1)), (0.9, 0.9, 3.0)
    ours = surface_distances(*masks, spacing)
    theirs = surface_distance.compute_surface_distances(*masks, spacing)
    for percent in (50, 95, 100):
        np.testing.assert_allclose(
            ours.hausdorff(percent), surface_distance.compute_robust_hausdorff(theirs, percent)
        )
    np.testing.assert_allclose(
        ours.average_distances, surface_distance.compute_average_surface_distance(theirs), rtol=1e-6
    )


def five_voxels(*inside: int) -> np.ndarray:
    """A world of five voxels in a row."""
    mask = np.zeros((5, 1, 1), dtype=bool)
    mask[list(inside)] = True
    return mask


def test_one_voxel_three_steps_away_worked_by_hand():
    # Every voxel has its eight corners as surface, with equal areas. From voxel 0 to voxel 3:
    # four corners at index 0 and four at 1 look at index 3: distances 3 and 2 steps of 2 mm.
    found = surface_distances(five_voxels(0), five_voxels(3), (2.0, 1.0, 1.0))
    np.testing.assert_allclose(found.reference_to_prediction, [4] * 4 + [6] * 4)
    np.testing.assert_allclose(found.prediction_to_reference, [4] * 4 + [6] * 4)
    assert found.hausdorff(100) == 6
    assert found.hausdorff(95) == 6
    assert found.hausdorff(50) == 4
    assert found.average_distances == pytest.approx((5, 5))
    assert found.surface_dice(4.0) == pytest.approx(0.5)
    assert found.surface_dice(3.9) == 0


def test_a_longer_prediction_worked_by_hand():
    # Reference voxels 0 and 1, prediction 0 to 2, 1 mm: corners at 0, 1, 2 and at 0, 1, 2, 3.
    # A corner at an end is a triangle with normal (1, 1, 1) / 8; one between two voxels is two
    # triangles with normal (1, 1, 0) / 4. There are four such corners at each place in the row.
    found = surface_distances(five_voxels(0, 1), five_voxels(0, 1, 2), (1.0, 1.0, 1.0))
    end, between = 4 * 3**0.5 / 8, 4 * 2 * 2**0.5 / 4
    assert found.reference_areas.sum() == pytest.approx(2 * end + between)
    assert found.prediction_areas.sum() == pytest.approx(2 * end + 2 * between)
    # Of all corners only those at 3 are apart, by one voxel.
    assert found.average_distances == pytest.approx((0, end / (2 * end + 2 * between)))
    assert found.assd == pytest.approx(end / (2 * end + 2 * between) / 2)
    assert found.hausdorff(100) == 1
    assert found.surface_dice(0) == pytest.approx(1 - end / (4 * end + 3 * between))


EMPTY, FULL = five_voxels(), five_voxels(1, 2)


def test_two_empty_masks_have_no_distances():
    found = surface_distances(EMPTY, EMPTY, (1, 1, 1))
    assert np.isnan([found.hausdorff(), found.surface_dice(1), found.assd]).all()


@pytest.mark.parametrize("masks", [(EMPTY, FULL), (FULL, EMPTY)])
def test_one_empty_mask_is_a_whole_image_away(masks):
    found = surface_distances(*masks, (2.0, 3.0, 6.0))
    diagonal = (10**2 + 3**2 + 6**2) ** 0.5
    assert found.hausdorff() == found.assd == pytest.approx(diagonal)
    assert found.surface_dice(1000) == 0


@given(pairs(), SPACINGS)
def test_swapping_the_masks_changes_nothing_but_the_direction(masks, spacing):
    there, back = surface_distances(*masks, spacing), surface_distances(*masks[::-1], spacing)
    assert there.hausdorff() == back.hausdorff()
    assert there.surface_dice(1) == pytest.approx(back.surface_dice(1))
    assert there.average_distances == back.average_distances[::-1]


@given(pairs(), SPACINGS, st.floats(0.1, 10))
def test_distances_grow_with_the_spacing(masks, spacing, scale):
    small = surface_distances(*masks, spacing)
    large = surface_distances(*masks, [scale * mm for mm in spacing])
    for percent in (95, 100):
        assert large.hausdorff(percent) == pytest.approx(scale * small.hausdorff(percent), rel=1e-5)
    assert large.assd == pytest.approx(scale * small.assd, rel=1e-5)


@given(pairs(), SPACINGS, st.permutations([0, 1, 2]), st.integers(0, 2))
def test_the_order_and_direction_of_axes_does_not_matter(masks, spacing, order, flipped):
    turned = [np.flip(m.transpose(order), flipped) for m in masks]
    before = surface_distances(*masks, spacing)
    after = surface_distances(*turned, [spacing[n] for n in order])
    assert after.hausdorff(100) == pytest.approx(before.hausdorff(100))


@given(pairs(), st.integers(0, 3))
def test_air_around_the_masks_does_not_matter(masks, margin):
    wide = [np.pad(m, margin) for m in masks]
    before, after = (surface_distances(*m, (1, 2, 3)) for m in (masks, wide))
    assert before.hausdorff() == after.hausdorff()
    assert before.assd == pytest.approx(after.assd)


def test_a_mask_and_itself_touch_everywhere():
    mask = np.random.default_rng(0).random((6, 5, 4)) < 0.4
    found = surface_distances(mask, mask, (1, 2, 3))
    assert (found.hausdorff(100), found.assd, found.surface_dice(0)) == (0, 0, 1)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ShapeError, match="one shape"):
        surface_distances(np.ones((2, 2, 2)), np.ones((2, 2, 3)), (1, 1, 1))


PLANES = st.tuples(st.integers(2, 9), st.integers(2, 9), st.just(1))


@given(pairs(PLANES), SPACINGS, st.sampled_from([0, 1, 2]))
def test_in_an_image_of_one_slice_contours_are_measured_as_deepmind_does_in_a_plane(
    masks, spacing, axis
):
    thin = [np.moveaxis(mask, 2, axis) for mask in masks]
    along = [mm for n, mm in enumerate(spacing) if n != axis]
    ours = surface_distances(*thin, spacing, image=thin[0].shape)
    theirs = surface_distance.compute_surface_distances(*(m[..., 0] for m in masks), along)
    averages = surface_distance.compute_average_surface_distance(theirs)
    np.testing.assert_allclose(ours.average_distances, averages, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        ours.hausdorff(100), surface_distance.compute_robust_hausdorff(theirs, 100), rtol=1e-6
    )


def test_two_discs_are_as_far_apart_as_their_rims():
    far = np.hypot(*(np.indices((120, 120)) - 60))[..., None]
    found = surface_distances(far <= 50, far <= 40, (1, 1, 1), image=far.shape)
    assert found.hausdorff(95) == pytest.approx(10, abs=1)
    assert found.assd == pytest.approx(10, abs=0.5)
    assert found.surface_dice(1) == 0


def test_a_mask_of_one_slice_in_a_larger_image_has_two_sides():
    plate = np.zeros((9, 9, 5), dtype=bool)
    plate[2:7, 2:7, 2] = True
    cut = plate[:, :, 2:3]
    whole, part = (
        surface_distances(plate, plate, (1, 1, 1)),
        surface_distances(cut, cut, (1, 1, 1), image=plate.shape),
    )
    assert part.reference_areas.sum() == pytest.approx(whole.reference_areas.sum())
    assert part.diagonal_mm == whole.diagonal_mm


def test_an_image_of_one_voxel_is_no_empty_mask():
    one = np.ones((1, 1, 1), dtype=bool)
    assert surface_distances(one, one, (1, 1, 1), image=(1, 1, 1)).assd == 0
