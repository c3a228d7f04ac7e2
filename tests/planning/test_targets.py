"""Plans of networks that estimate images: what fits together, and where the estimates lie."""

from __future__ import annotations

import json
import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.drawing import (
    estimating_plan,
    plan_for,
)
from tests.strategies import (
    ORIENTATIONS,
    finer_factors,
    grids,
    orientations,
    straight_grids,
    tilted,
)
from volunet.config import build, read_config, to_json
from volunet.errors import ConfigError
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.planning.targets import Scale, Targets
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.volume import Volume

few = settings(max_examples=15)
any_grid = st.one_of(straight_grids(), grids(side=8, spacing=(0.5, 5.0)))


# What fits together


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"names": [], "scales": []}, "names: "),
        ({"names": ["CT"], "scales": []}, "1 targets need as many scales"),
        ({"names": ["CT"], "scales": [None, None]}, "1 targets need as many scales"),
        ({"names": ["CT", "CT"], "scales": [None, None]}, "two targets have the same name"),
        ({"names": ["CT"], "scales": [None], "finer": [1, 0, 1]}, "finer.1: "),
        ({"names": ["CT"], "scales": [None], "finer": [1, 17, 1]}, "finer.1: "),
        ({"names": ["CT"], "scales": [None], "finer": [2, 2]}, "'finer.2' is missing"),
        ({"names": ["CT"], "scales": [None], "top": 4095}, "top: "),
        ({"names": ["CT"], "scales": [{"mean": 0.0, "sd": 0.0}]}, "scales.0.sd: "),
        ({"names": ["CT"], "scales": [{"mean": 0.0, "sd": -1.0}]}, "scales.0.sd: "),
        ({"names": ["CT"], "scales": [{"mean": 0.0}]}, "'scales.0.sd' is missing"),
        ({"names": ["CT"], "scales": [{"mean": float("nan"), "sd": 1.0}]}, "scales.0.mean: "),
        ({"names": ["CT"], "scale": [None]}, "'scale'. Did you mean 'scales'?"),
    ],
)
def test_a_mistake_in_targets_is_named_with_its_place(values, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        build(Targets, values, at="plan.json")


CT_SCALE = Scale(mean=-100.0, sd=400.0)
REGIONS = {"structures": {"one": 1, "two": 2}, "regions": {"both": [1, 2], "right": [2]}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": {"structures": {"one": 1}}}, "targets or tells structures apart, not both"),
        ({"labels": REGIONS, "regions": True}, "targets or tells structures apart, not both"),
        ({"supervised_scales": 2}, "targets are estimated at the finest scale"),
        ({"targets": {"names": ["CT"], "scales": [None]}}, "the targets ['CT'] are none of the"),
        (
            {"targets": {"names": ["MR", "CT"], "scales": [None, None]}},
            "the targets ['CT'] are none of the channels ['MR']",
        ),
        (
            {"targets": {"names": ["CT"], "scales": [CT_SCALE.model_dump()]}, "corrects": True},
            "the targets ['CT'] are none of the channels ['MR']",
        ),
    ],
)
def test_what_does_not_go_with_targets_is_refused(change, says):
    values = json.loads(to_json(estimating_plan())) | change
    with pytest.raises(ConfigError, match=re.escape(says)):
        build(Plan, values, at="plan.json")


def test_regions_go_with_targets_as_little_as_labels_do():
    values = json.loads(to_json(estimating_plan())) | {"regions": True}
    with pytest.raises(ConfigError, match="targets or tells structures apart, not both"):
        build(Plan, values, at="plan.json")


def test_only_what_estimates_corrects():
    with pytest.raises(ValueError, match="corrects is for networks that estimate targets"):
        plan_for(corrects=True)


def test_each_target_has_a_head():
    plan = estimating_plan(("CT", "PET"), (CT_SCALE, Scale(mean=1.0, sd=2.0)))
    assert plan.heads == ("CT", "PET")
    assert plan.spec.out_channels == 2
    assert plan.added == ()
    one = estimating_plan(corrects=True)
    assert (one.heads, one.added, one.spec.out_channels) == (("MR",), ("MR",), 1)
    assert plan_for().added == ()
    assert plan_for().heads == ("background", "one", "two")


def test_a_plan_with_targets_comes_back_from_json(tmp_path):
    for plan in (
        estimating_plan(corrects=True, finer=(2, 2, 1)),
        estimating_plan(("MR", "CT"), (None, CT_SCALE)),
    ):
        (tmp_path / "plan.json").write_text(to_json(plan))
        assert read_config(tmp_path / "plan.json", Plan) == plan


# Where estimates lie


def corners(grid: Grid) -> np.ndarray:
    """Where the outer corners of a field of view are, (2, 2, 2, 3) in mm, along its axes."""
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    return grid.to_world(np.array(list(product(*ends)))).reshape(2, 2, 2, 3)


def expect_targets_grid(scan: Grid, finer: tuple[int, int, int]) -> Grid:
    """The target's grid has the scan's axes and edges, and finer voxels along the right axes."""
    found = estimating_plan(finer=finer).target_grid(scan)
    assert found.orientation == scan.orientation
    along = [next(n for n, pair in enumerate(("RL", "AP", "SI")) if s in pair)
             for s in scan.orientation]  # fmt: skip
    assert found.shape == tuple(n * finer[a] for n, a in zip(scan.shape, along, strict=True))
    np.testing.assert_allclose(corners(found), corners(scan), atol=1e-6)
    return found


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("finer", [(1, 1, 1), (3, 1, 2)])
def test_targets_lie_along_the_axes_of_any_file(orientation, finer):
    affine = np.eye(4)
    affine[:3, :3] = tilted((4.0, -7.0, 11.0)) * (0.7, 0.9, 3.1)
    affine[:3, 3] = (-80.3, 12.7, 1003.1)
    found = expect_targets_grid(Grid((5, 4, 3), affine).reoriented(orientation), finer)
    seen_on = estimating_plan(finer=finer).grid_for(Grid((5, 4, 3), affine).reoriented(orientation))
    assert seen_on.orientation == "RAS"
    assert seen_on.matches(found.reoriented("RAS"))


@given(any_grid, orientations, finer_factors)
def test_targets_have_the_field_of_view_of_any_scan(grid, orientation, finer):
    scan, plan = grid.reoriented(orientation), estimating_plan(finer=finer)
    found = expect_targets_grid(scan, finer)
    turned = scan.reoriented("RAS")
    seen_on = plan.grid_for(scan)
    assert seen_on.shape == tuple(n * by for n, by in zip(turned.shape, finer, strict=True))
    np.testing.assert_allclose(corners(seen_on), corners(turned), atol=1e-6)
    assert seen_on.matches(found.reoriented("RAS"))


@given(any_grid, orientations)
def test_without_finer_targets_every_scan_is_seen_on_its_own_grid(grid, orientation):
    scan, plan = grid.reoriented(orientation), estimating_plan()
    assert plan.target_grid(scan).matches(scan)
    assert plan.grid_for(scan).matches(scan.reoriented("RAS"))


def test_a_recipe_may_want_a_spacing_or_a_size_all_the_same():
    scan = Grid((10, 10, 10), np.eye(4))
    respaced = estimating_plan(respace=True, spacing=(2.0, 2.0, 2.0))
    assert respaced.grid_for(scan).shape == (5, 5, 5)
    sized = estimating_plan(size=(32, 16, 8), finer=(2, 2, 2))
    assert sized.grid_for(scan).shape == (32, 16, 8)
    for plan in (respaced, estimating_plan(size=(32, 16, 8))):
        assert plan.target_grid(scan).matches(scan)


# How values are scaled, and brought back


def noise(grid: Grid, channels: int = 1, *, seed: int = 0) -> Volume:
    voxels = np.random.default_rng(seed).normal(40, 200, (channels, *grid.shape))
    return Volume(voxels.astype(np.float32), grid)


@few
@given(straight_grids(), finer_factors, orientations)
def test_targets_are_scaled_voxel_by_voxel_and_none_is_moved(grid, finer, orientation):
    scale = Scale(mean=-7.5, sd=3.0)
    plan = estimating_plan(("CT", "PET"), (CT_SCALE, scale), finer=finer)
    scan = noise(grid.reoriented(orientation))
    target = noise(plan.target_grid(scan.grid), 2, seed=1)
    image, scales = plan.prepare_scaled(scan)
    assert plan.target_scales(scales) == (CT_SCALE, scale)
    found = plan.prepare_target(target, image.grid, plan.target_scales(scales))
    expected = target.reoriented("RAS").voxels.astype(np.float64)
    expected = (expected - [[[[-100.0]]], [[[-7.5]]]]) / [[[[400.0]]], [[[3.0]]]]
    assert found.voxels.dtype == np.float32
    assert found.grid.matches(image.grid)
    np.testing.assert_allclose(found.voxels, expected, rtol=1e-4, atol=1e-3)


SET = Intensity(scheme="set", low=-200.0, high=300.0, mean=40.0, sd=70.0)


def test_an_alike_target_is_scaled_as_its_channel_is_in_this_scan():
    plan = estimating_plan(
        ("PET", "MR", "CT"),
        (None, None, CT_SCALE),
        channels=("MR", "PET"),
        intensities=(Intensity(scheme="image"), SET),
    )
    mr, pet = Scale(mean=1.0, sd=2.0), Scale(mean=40.0, sd=70.0)
    assert plan.target_scales((mr, pet)) == (pet, mr, CT_SCALE)
    assert plan_for().target_scales((mr,)) == ()


@few
@given(any_grid, st.sampled_from(["image", "wide set"]), finer_factors)
def test_a_target_that_is_its_channel_is_prepared_as_it_is(grid, scheme, finer):
    wide = Intensity(scheme="set", low=-1e6, high=1e6, mean=40.0, sd=70.0)
    intensity = Intensity(scheme="image") if scheme == "image" else wide
    plan = estimating_plan(intensities=(intensity,), finer=finer, corrects=True)
    scan = noise(grid)
    image, scales = plan.prepare_scaled(scan)
    target = plan.prepare_target(scan, image.grid, plan.target_scales(scales))
    np.testing.assert_allclose(target.voxels, image.voxels, atol=1e-4)


def test_a_target_keeps_what_is_clipped_of_its_channel():
    plan = estimating_plan(intensities=(SET,))
    scan = Volume(np.full((1, 2, 2, 2), 1000.0, np.float32), Grid((2, 2, 2), np.eye(4)))
    image, scales = plan.prepare_scaled(scan)
    target = plan.prepare_target(scan, image.grid, plan.target_scales(scales))
    assert image.voxels.max() == pytest.approx((300 - 40) / 70)
    assert target.voxels.max() == pytest.approx((1000 - 40) / 70)


@few
@given(any_grid, st.floats(-1e4, 1e4), st.floats(0.0, 1e3))
def test_scales_bring_prepared_voxels_back_to_the_scan(grid, mean, spread):
    voxels = np.random.default_rng(0).normal(mean, spread, (2, *grid.shape)).astype(np.float32)
    wide = Intensity(scheme="set", low=-1e6, high=1e6, mean=40.0, sd=70.0)
    plan = estimating_plan(channels=("MR", "CT"), intensities=(Intensity(scheme="image"), wide))
    image, scales = plan.prepare_scaled(Volume(voxels, grid))
    back = [v * s.sd + s.mean for v, s in zip(image.voxels, scales, strict=True)]
    expected = Volume(voxels, grid).reoriented("RAS").voxels
    np.testing.assert_allclose(
        np.stack(back), expected, rtol=1e-5, atol=1e-6 * (abs(mean) + spread + 100)
    )
    assert scales[1] == Scale(mean=40.0, sd=70.0)


def test_a_constant_scan_is_all_0_and_is_brought_back():
    plan = estimating_plan()
    scan = Volume(np.full((1, 3, 3, 3), 12.5, np.float32), Grid((3, 3, 3), np.eye(4)))
    image, scales = plan.prepare_scaled(scan)
    assert not image.voxels.any()
    assert scales == (Scale(mean=12.5, sd=1.0),)


def test_a_part_of_a_scan_is_scaled_by_the_whole_of_it():
    plan, scan = estimating_plan(), noise(Grid((6, 6, 6), np.eye(4)))
    whole, scales = plan.prepare_scaled(scan)
    part, same = plan.prepare_scaled(scan, Box((1, 2, 0), (4, 6, 3)))
    assert same == scales
    np.testing.assert_array_equal(part.voxels, whole.voxels[:, 1:4, 2:6, 0:3])
