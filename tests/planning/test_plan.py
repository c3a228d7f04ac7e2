"""A plan is data that fits together; what it prepares does not depend on how a file's axes run."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.drawing import plan_for
from tests.strategies import ORIENTATIONS, grids, orientations, straight_grids, tilted
from volunet.config import build, read_config, to_json
from volunet.errors import ConfigError
from volunet.planning.intensity import Intensity, normalise
from volunet.planning.plan import Plan
from volunet.space.grid import Grid
from volunet.space.resample import resample
from volunet.space.volume import Volume

CT = Intensity(scheme="set", low=-200.0, high=300.0, mean=40.0, sd=70.0)


def noise(grid: Grid, channels: int = 1) -> Volume:
    voxels = np.random.default_rng(0).normal(40, 200, (channels, *grid.shape))
    return Volume(voxels.astype(np.float32), grid)


def test_a_plan_comes_back_from_json(tmp_path):
    plan = plan_for(intensities=(CT,), overlap=0.25, residual=True)
    (tmp_path / "plan.json").write_text(to_json(plan))
    assert read_config(tmp_path / "plan.json", Plan) == plan


def test_a_plan_can_be_edited_as_text(tmp_path):
    edited = to_json(plan_for()).replace('"batch": 2', '"batch": 3')
    (tmp_path / "plan.json").write_text(edited)
    assert read_config(tmp_path / "plan.json", Plan) == plan_for(batch=3)


def test_the_divisor_is_what_the_strides_divide_by_together():
    plan = plan_for(strides=((2, 2, 1), (2, 2, 2)), patch=(32, 32, 10))
    assert plan.sizes.step == (4, 4, 2)
    assert plan.spec.strides == ((2, 2, 1), (2, 2, 2))
    assert (plan.spec.in_channels, plan.spec.out_channels) == (1, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ptach": [8, 8, 8]}, "plan.json does not know 'ptach'. Did you mean 'patch'?"),
        (
            {"intensities": [{"scheme": "image", "lo": 1}]},
            "'intensities.0.lo'. Did you mean 'low'?",
        ),
        ({"labels": {"structure": {}}}, "'labels.structure'. Did you mean 'structures'?"),
        ({"format": 2}, "format: Input should be 1 (got 2)"),
        ({"spacing": [1, 1, 101]}, "spacing.2: Input should be less than or equal to 100"),
        ({"spacing": [1, 1, True]}, "spacing.2: Input should be a valid number (got True)"),
        ({"patch": [32, 32]}, "'patch.2' is missing"),
        ({"patch": [32, 32, 30]}, "the patch (32, 32, 30) must be a multiple of (4, 4, 4)"),
        ({"batch": 0}, "batch: Input should be greater than or equal to 1 (got 0)"),
        ({"batch": 2.0}, "batch: Input should be a valid integer (got 2.0)"),
        ({"residual": 1}, "residual: Input should be a valid boolean (got 1)"),
        ({"channels": []}, "channels: "),
        ({"channels": ["CT", "PET"]}, "2 channels need as many intensities"),
        ({"features": [8, 16]}, "2 features need as many kernels, and one stride less"),
        ({"kernels": [[3, 3, 2]] * 3}, "kernels must be odd"),
        ({"supervised_scales": 3}, "supervised_scales must be below 3"),
        ({"overlap": 1}, "overlap: Input should be less than 1"),
        ({"interpolation": "spline"}, "interpolation: Input should be 'linear' or 'cubic'"),
    ],
)
def test_a_mistake_is_named_with_its_place(change, says):
    values = json.loads(to_json(plan_for())) | change
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        build(Plan, values, at="plan.json")
    assert len(str(caught.value)) < 400


@given(st.one_of(grids(spacing=(0.5, 5.0)), straight_grids()), st.tuples(*[st.floats(0.5, 4)] * 3))
def test_the_network_works_in_ras_at_the_plans_spacing_about_the_scans_centre(grid, spacing):
    found = plan_for(spacing=spacing).grid_for(grid)
    assert found.orientation == "RAS"
    np.testing.assert_allclose(found.spacing, spacing, rtol=1e-3)
    centres = [g.to_world((np.array(g.shape) - 1) / 2) for g in (found, grid)]
    np.testing.assert_allclose(*centres, atol=1e-6)


def test_a_scan_that_has_the_spacing_already_is_only_turned():
    grid = Grid((9, 8, 7), np.diag([-1.0004, -1.0, 0.9996, 1.0]))
    found = plan_for().grid_for(grid)
    assert found.matches(grid.reoriented("RAS"))
    scan = noise(grid)
    prepared = plan_for(intensities=(CT,)).prepare(scan).voxels[0]
    np.testing.assert_array_equal(prepared, normalise(scan.reoriented("RAS").voxels[0], CT))


def oblique() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = tilted((4.0, -7.0, 11.0)) * (0.7, 0.9, 3.1)
    affine[:3, 3] = (-80.3, 12.7, 1003.1)
    return Grid((13, 11, 6), affine)


def straight() -> Grid:
    affine = np.diag([0.9765625, 0.9765625, 2.5, 1.0])
    affine[:3, 3] = (-249.51171875, -461.51171875, -1021.9)
    return Grid((13, 11, 6), affine)


@pytest.mark.parametrize("grid", [straight(), oblique()], ids=["straight", "oblique"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("spacing", [(1.3, 1.1, 1.7), None], ids=["respaced", "only turned"])
def test_all_48_orientations_of_a_scan_are_prepared_bit_for_bit_alike(grid, interpolation, spacing):
    plan = plan_for(
        channels=("CT", "MR"),
        intensities=(CT, Intensity(scheme="image")),
        spacing=spacing or grid.spacing,
        interpolation=interpolation,
    )
    scan = noise(grid, channels=2)
    expected = plan.prepare(scan)
    for orientation in ORIENTATIONS:
        prepared = plan.prepare(scan.reoriented(orientation))
        np.testing.assert_array_equal(prepared.voxels, expected.voxels)
        assert prepared.grid.matches(expected.grid)


@settings(max_examples=25)
@given(st.one_of(grids(side=9, spacing=(0.5, 5.0)), straight_grids()), orientations)
def test_the_orientation_of_any_scan_never_matters(grid, orientation):
    plan, scan = plan_for(spacing=(1.3, 1.1, 1.7)), noise(grid)
    turned = plan.prepare(scan.reoriented(orientation))
    np.testing.assert_array_equal(turned.voxels, plan.prepare(scan).voxels)


def test_preparing_is_resampling_and_scaling_channel_by_channel():
    plan = plan_for(channels=("CT", "MR"), intensities=(CT, Intensity(scheme="image")),
                    spacing=(1.0, 2.0, 3.0))  # fmt: skip
    scan = noise(oblique().reoriented("SPL"), channels=2)
    prepared = plan.prepare(scan)
    seen = resample(scan, plan.grid_for(scan.grid)).voxels
    assert (prepared.voxels.dtype, prepared.grid.shape) == (np.float32, prepared.voxels.shape[1:])
    np.testing.assert_allclose(prepared.voxels[0], normalise(seen[0], CT), atol=1e-4)
    assert prepared.voxels[1].mean() == pytest.approx(0, abs=1e-4)
    assert prepared.voxels[1].std() == pytest.approx(1, abs=1e-4)


def test_preparing_changes_no_voxel_of_the_scan():
    scan = noise(Grid((5, 5, 5), np.eye(4)))
    before = scan.voxels.copy()
    prepared = plan_for(intensities=(CT,)).prepare(scan)
    np.testing.assert_array_equal(scan.voxels, before)
    assert not np.shares_memory(prepared.voxels, scan.voxels)
