"""What is left out is air: crops and skipped windows change no voxel of the body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tests.inference.less import (
    CT,
    CT_SET,
    EVERYWHERE,
    LESS,
    MR,
    Bright,
    Ramp,
    ball,
    ct,
    plan_of,
    segmenter,
    trained_on,
)
from volunet.inference.air import SUPPORT, _remove_specks, air_level, find_body
from volunet.inference.effort import Effort
from volunet.inference.labelling import Labelling
from volunet.inference.view import view_scan
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.picture import picture_grid
from volunet.space.volume import Volume


@st.composite
def scans(draw) -> Volume:
    """A scan with up to two bodies anywhere, tilted or not, in air with noise and specks."""
    shape = draw(st.tuples(*[st.integers(10, 32)] * 3))
    spacing = np.array(draw(st.tuples(*[st.sampled_from([1.0, 2.0, 3.3, 5.0])] * 3)))
    affine = np.diag([*spacing, 1.0])
    if draw(st.booleans()):
        affine[:3, :3] = Rotation.random(random_state=draw(st.integers(0, 9))).as_matrix() * spacing
    grid = Grid(shape, affine).reoriented(draw(st.sampled_from(["RAS", "LPI", "SAR"])))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    voxels = rng.normal(-1000, draw(st.sampled_from([0, 60])), grid.shape)
    voxels[rng.random(grid.shape) < draw(st.sampled_from([0, 5e-4]))] = 3000
    for _ in range(draw(st.integers(0, 2))):
        voxels[ball(grid, rng.uniform(0, grid.shape), rng.uniform(8, 30))] = 40
    return Volume(voxels[None].astype(np.float32), grid)


def body_of(scan: Volume) -> np.ndarray:
    return np.asarray(scan.voxels[0] == 40)


@settings(max_examples=25)
@given(scans(), st.sampled_from([0.0, 0.5]))
def test_skipping_changes_no_voxel_of_the_body_whatever_the_network_says(scan, overlap):
    plan = plan_of(CT)
    whole, less = (
        segmenter(plan, CT_SET, effort, Ramp(plan.patch))(scan)
        for effort in (Effort(overlap=overlap), Effort(overlap=overlap, skip_air=True))
    )
    body = body_of(scan)
    np.testing.assert_array_equal(less.labels.voxels[0][body], whole.labels.voxels[0][body])
    assert less.how["windows"] <= whole.how["windows"]


@settings(max_examples=25)
@given(scans())
def test_a_network_that_finds_nothing_in_air_gives_the_same_mask_with_less(scan):
    plan = plan_of(CT)
    tissue = Bright(-0.837)  # never the value half-way between two voxels, where rounding decides
    clean = Volume(np.where(body_of(scan), 40, np.minimum(scan.voxels, -160)), scan.grid)
    whole, less = (segmenter(plan, CT_SET, e, tissue)(clean) for e in (EVERYWHERE, LESS))
    np.testing.assert_array_equal(less.labels.voxels, whole.labels.voxels)


def test_less_is_prepared_and_looked_at_and_the_record_says_so():
    scan = ct(body=((20, 20, 30), 20))
    plan = plan_of(CT)
    whole, less = (segmenter(plan, CT_SET, e, Bright(0))(scan).how for e in (EVERYWHERE, LESS))
    assert whole["crop"] is None
    assert whole["windows_skipped"] == 0
    (start, stop), shape = less["crop"], less["plan_shape"]
    assert [b - a for a, b in zip(start, stop, strict=True)] == shape
    assert max(shape) < 40
    assert less["windows"] < whole["windows"] / 3


def test_windows_between_two_bodies_are_skipped():
    scan = ct((120, 40, 40), left=((16, 20, 20), 20), right=((104, 20, 20), 20))
    how = segmenter(plan_of(CT), CT_SET, LESS, Bright(0))(scan).how
    assert how["plan_shape"][0] > 100
    assert how["windows_skipped"] > 0.2 * (how["windows"] + how["windows_skipped"])


def test_a_strip_of_nothing_but_air_is_not_looked_at():
    scan = ct((40, 120, 40), left=((20, 16, 20), 20), right=((20, 104, 20), 20))
    plan, efforts = plan_of(CT), [Effort(skip_air=True, strips=n) for n in (1, 5)]
    whole, strips = (segmenter(plan, CT_SET, e, Bright(-0.837))(scan) for e in efforts)
    np.testing.assert_array_equal(strips.labels.voxels, whole.labels.voxels)
    view = view_scan(scan, plan, CT_SET, efforts[1])
    order = Labelling([], plan, view, scan.grid).order(efforts[1], view.shows)
    assert all(map(view.shows, order))
    assert strips.how["windows"] == len(order)
    assert strips.how["windows_skipped"] == whole.how["windows_skipped"] > 0


@pytest.mark.parametrize("noise_hu", [20, 60, 120])
def test_noise_and_specks_in_the_air_do_not_blow_up_the_box(noise_hu):
    clean = ct((100, 100, 100), body=((50, 50, 50), 30))
    rng = np.random.default_rng(0)
    air = clean.voxels < -500
    noisy = clean.voxels + air * rng.normal(0, noise_hu, clean.voxels.shape)
    noisy[air & (rng.random(air.shape) < 1e-3)] = 3000
    boxes = []
    for voxels in (clean.voxels, noisy.astype(np.float32)):
        body = find_body(Volume(voxels, clean.grid), plan_of(CT), CT_SET)
        boxes.append(body.on(clean.grid).box((0, 0, 0)))
    assert boxes[0] == boxes[1]


@pytest.mark.parametrize("centre", [(30, 30, 30), (0, 30, 30), (59, 59, 0), (30, 0, 59)])
@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SAR"])
def test_a_body_of_eight_millimetres_is_found_anywhere(centre, orientation):
    scan = ct(spacing=1.0)
    at = tuple(slice(max(c - 4, 0), max(c - 4, 0) + 8) for c in centre)
    scan.voxels[0][at] = 40
    turned = scan.reoriented(orientation)
    body = find_body(turned, plan_of(CT), CT_SET)
    cells = body.on(turned.grid)
    for index in np.argwhere(turned.voxels[0] == 40):
        assert cells.touch(Box(tuple(index), tuple(index + 1)))


def test_dark_parts_that_the_body_closes_in_are_looked_at():
    scan = ct(body=((30, 30, 30), 50))
    lung = ball(scan.grid, (30, 30, 30), 44)
    lung[:, :, :8] = lung[:, :, 52:] = False
    scan.voxels[0][lung] = -900
    cells = find_body(scan, plan_of(CT), CT_SET).on(scan.grid)
    assert cells.touch(Box((28, 28, 28), (32, 32, 32)))


def test_a_scan_of_nothing_is_looked_at_everywhere():
    assert find_body(ct(), plan_of(CT), CT_SET) is None
    assert segmenter(plan_of(CT), CT_SET, LESS, Bright(0))(ct()).how["crop"] is None


def test_a_scan_whose_intensities_are_not_those_of_training_is_looked_at_everywhere():
    scan = ct(body=((20, 20, 30), 20))
    shifted = scan.with_voxels(scan.voxels - 4000)
    result = segmenter(plan_of(CT), CT_SET, LESS, Bright(0))(shifted)
    assert "OOD-INTENSITY" in {f.code for f in result.findings}
    assert result.how["crop"] is None


def test_a_ct_with_its_rescale_twice_is_looked_at_everywhere():
    scan = ct(body=((20, 20, 30), 20))
    scan.voxels[0, 18:22] = np.where(scan.voxels[0, 18:22] == 40, -100, -1000)
    scan.voxels[0, 20, 20, 28:32] = 500
    twice = scan.with_voxels(scan.voxels - 1024)
    less = segmenter(plan_of(CT), CT_SET, LESS, Bright(0))
    assert less(scan).how["crop"] is not None
    result = less(twice)
    assert "OOD-INTENSITY" in {f.code for f in result.findings}
    assert (result.how["crop"], result.how["windows_skipped"]) == (None, 0)


def test_the_level_lies_half_way_from_air_to_the_dark_end_of_the_foreground():
    dark = CT_SET.foreground_quantile(0, 0.05)
    assert air_level(plan_of(CT), CT_SET, 0) == (-1000 + dark) / 2
    lungs = trained_on(((-1024, 1500), (-980, -500)))
    assert -1000 < air_level(plan_of(CT), lungs, 0) < lungs.foreground_quantile(0, 0.05)
    assert air_level(plan_of(CT), trained_on(((-1200, 1500), (-1100, -990))), 0) is None


def test_of_an_mr_scan_padding_alone_is_air_and_the_crop_keeps_its_intensities():
    rng = np.random.default_rng(0)
    scan = ct()
    scan.voxels[:] = rng.normal(100, 20, scan.voxels.shape).clip(1)
    scan.voxels[:, :30] = 0
    plan, known = plan_of(MR), trained_on(((0, 200), (50, 200)))
    result = segmenter(plan, known, LESS, Bright(0))(scan)
    (start, _), whole = result.how["crop"], segmenter(plan, known, EVERYWHERE, Bright(0))(scan)
    assert 20 <= start[0] < 30
    np.testing.assert_array_equal(result.labels.voxels[:, 30:], whole.labels.voxels[:, 30:])
    box = Box((20, 0, 0), (60, 60, 60))
    np.testing.assert_array_equal(
        plan.prepare(scan, box).voxels, plan.prepare(scan).crop(box).voxels
    )


@pytest.mark.parametrize("foreground", [(0, 0), (50, 200)])
def test_padding_is_air_only_where_no_foreground_had_its_value(foreground):
    scan = ct(body=((20, 20, 30), 20))
    scan.voxels[scan.voxels < 0] = 0
    found = find_body(scan, plan_of(MR), trained_on(((0, 200), foreground)))
    assert (found is None) == (foreground[0] == 0)


def test_a_voxel_is_air_only_if_it_is_so_in_every_channel():
    first, second = ct(one=((12, 30, 30), 20)), ct(one=((48, 30, 30), 20))
    scan = Volume(np.concatenate((first.voxels, second.voxels)), first.grid)
    channel = ((-1024, 1500), (-100, 200))
    body = find_body(scan, plan_of(CT, CT), trained_on(channel, channel))
    cells = body.on(scan.grid)
    assert all(cells.touch(Box((i, 28, 28), (i + 1, 32, 32))) for i in (12, 48))


@pytest.mark.parametrize("strips", [1, 3])
def test_a_crop_and_strips_give_the_mask_of_the_crop_alone(strips):
    scan = ct(body=((20, 34, 30), 24))
    plan = plan_of(CT)
    one = segmenter(plan, CT_SET, LESS, Ramp(plan.patch))(scan)
    several = segmenter(plan, CT_SET, replace(LESS, strips=strips), Ramp(plan.patch))(scan)
    np.testing.assert_array_equal(one.labels.voxels, several.labels.voxels)


def test_a_plain_picture_has_no_air_as_lines_of_a_pixel_would_be_missed():
    voxels = np.full((1, 65, 63, 1), -1000.0, np.float32)
    voxels[0, 33:35] = 40  # two pixels wide, between the points of a lattice of 4 mm
    picture = Volume(voxels, picture_grid(65, 63))
    scan = Volume(voxels, Grid((65, 63, 1), np.eye(4)))
    assert find_body(scan, plan_of(CT), CT_SET) is None  # nothing but air, it seems
    voxels[0, 32] = 40
    assert find_body(scan, plan_of(CT), CT_SET) is not None
    assert find_body(picture, plan_of(CT), CT_SET) is None


def test_small_animals_are_looked_for_on_a_lattice_of_their_voxels():
    scan = ct((200, 200, 200), spacing=0.1, body=((100, 100, 100), 8))
    scan.voxels[0, 100:103, 100:130, 20:180] = 40  # a tail of 0.3 x 3 x 16 mm
    body = find_body(scan, plan_of(CT, spacing=(0.1, 0.1, 0.1)), CT_SET)
    assert body.step == (10, 10, 10)
    assert find_body(ct((60, 60, 60), body=((30, 30, 30), 60)), plan_of(CT), CT_SET).step == (
        2,
        2,
        2,
    )


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_a_body_are_those_that_a_plain_count_of_neighbours_finds(seed):
    mask = np.random.default_rng(seed).random((12, 9, 14)) < 0.12
    padded = np.pad(mask, 1, mode="edge").astype(int)
    around = sum(padded[a : a + 12, b : b + 9, c : c + 14] for a, b, c in np.ndindex(3, 3, 3))
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    thick = {part for part in range(1, count + 1) if (around[parts == part] >= SUPPORT).any()}
    kept = mask.copy()
    _remove_specks(kept)
    np.testing.assert_array_equal(kept, np.isin(parts, sorted(thick)))
    assert 0 < kept.sum() < mask.sum()
