"""The plan of an imported model follows nnU-Net's rules."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from volunet.config import build, to_json
from volunet.errors import ConfigError
from volunet.planning.any_plan import StoredPlan
from volunet.planning.nnunet_intensity import NnunetIntensity
from volunet.planning.nnunet_plan import NnunetPlan, ThickSlices
from volunet.space.grid import Grid
from volunet.space.volume import Volume

VALUES = {
    "kind": "nnunet",
    "channels": ("MR",),
    "labels": {"structures": {"organ": 1, "tumour": 2}},
    "spacing": (1.0, 1.0, 1.0),
    "patch": (8, 8, 8),
    "intensities": ({"scheme": "none"},),
    "features": (4, 8),
    "strides": ((2, 2, 2),),
    "kernels": ((3, 3, 3), (3, 3, 3)),
    "depths": (1, 1),
    "decoder_depths": (1,),
}


def plan_with(**changes) -> NnunetPlan:
    return build(NnunetPlan, VALUES | changes, at="plan")


@pytest.mark.parametrize(
    ("spacings", "always", "axis"),
    [
        ([(3.0, 1.0, 1.0), (1.0, 1.0, 1.0)], None, None),  # not above the threshold
        ([(3.1, 1.0, 1.0), (1.0, 1.0, 1.0)], None, 0),
        (
            [(1.0, 1.0, 1.0), (1.0, 4.0, 1.0)],
            None,
            1,
        ),  # the second one counts where the first is fine
        ([(5.0, 1.0, 1.0), (1.0, 4.0, 1.0)], None, 0),
        ([(0.2, 1.0, 1.0), (5.0, 1.0, 1.0)], None, None),  # two coarse axes: no slices
        ([(1.0, 1.0, 2.0), (1.0, 1.0, 2.0)], True, 2),
        ([(9.0, 1.0, 1.0), (9.0, 1.0, 1.0)], False, None),
    ],
)
def test_slices_are_thick_above_a_ratio_of_three_along_one_axis(spacings, always, axis):
    assert ThickSlices(always=always).axis(*spacings) == axis


def test_rounding_noise_of_an_affine_does_not_make_slices_thick():
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.0 - 1e-9, 3.0 + 1e-9])
    assert plan_with().way_back(Grid((9, 9, 3), affine)).nearest is None


def test_axes_are_those_of_the_file_reversed_then_permuted():
    scan = Grid((10, 20, 30), np.diag([-1.0, 2.0, 0.5, 1.0]))
    plan = plan_with(transpose=(1, 0, 2), spacing=(1.0, 1.0, 1.0))
    assert plan.grid_for(scan).shape == (40, 15, 10)  # j, k, i
    assert plan_with(turned=True, transpose=(2, 1, 0)).grid_for(scan).shape == (10, 40, 15)


def test_a_scan_is_cropped_to_what_is_not_0_and_keeps_its_place():
    voxels = np.zeros((1, 6, 7, 8), dtype=np.int16)
    voxels[0, 1:4, 2:7, 3:6] = 5
    grid = Grid((6, 7, 8), np.diag([1.0, 1.0, 1.0, 1.0]))
    seen = plan_with().prepare(Volume(voxels, grid))
    assert seen.voxels.shape == (1, 3, 5, 3)
    assert (seen.voxels == 5).all()
    np.testing.assert_allclose(seen.grid.to_world((0, 0, 0)), (1, 2, 3))


def test_a_scan_of_nothing_but_0_is_taken_whole():
    grid = Grid((6, 7, 8), np.eye(4))
    plan = plan_with(intensities=({"scheme": "zscore", "masked": True},))
    seen = plan.prepare(Volume(np.zeros((1, 6, 7, 8), dtype=np.float32), grid))
    assert seen.voxels.shape == (1, 8, 7, 6)
    assert not seen.voxels.any()


def test_slices_keep_their_distance_for_a_network_of_slices():
    plan = plan_with(spacing=(0.5, 0.5), patch=(1, 8, 8), strides=((1, 2, 2),))
    assert plan.grid_for(Grid((10, 10, 4), np.diag([1.0, 1.0, 7.0, 1.0]))).shape == (4, 20, 20)


def test_intensities_are_scaled_by_each_scheme():
    seen = np.array([0.0, 100.0, 50.0, 255.0], dtype=np.float32).reshape(1, 2, 2)

    def scaled(inside=None, **values):
        voxels = seen.copy()
        NnunetIntensity(**values).scale(voxels, inside)
        return voxels.ravel().tolist()

    assert scaled(scheme="none") == seen.ravel().tolist()
    assert scaled(scheme="rgb") == pytest.approx([0, 100 / 255, 50 / 255, 1])
    assert scaled(scheme="rescale") == pytest.approx([0, 100 / 255, 50 / 255, 1])
    ct = {"scheme": "ct", "low": 10.0, "high": 90.0, "mean": 50.0, "sd": 20.0}
    assert scaled(**ct) == pytest.approx([-2, 2, 0, 2])
    inside = np.array([False, True, True, False]).reshape(1, 2, 2)
    assert scaled(inside, scheme="zscore", masked=True) == pytest.approx([0, 1, -1, 255])
    assert np.mean(scaled(scheme="zscore")) == pytest.approx(0, abs=1e-6)
    assert np.std(scaled(scheme="zscore")) == pytest.approx(1)


@pytest.mark.parametrize(
    "values", [{"scheme": "ct"}, {"scheme": "none", "low": 1.0}, {"scheme": "ct", "masked": True}]
)
def test_a_scheme_takes_its_own_numbers_and_no_others(values):
    with pytest.raises(ValidationError):
        NnunetIntensity(**values)


@pytest.mark.parametrize(
    "change",
    [
        {"depths": (1,)},
        {"decoder_depths": (1, 1)},
        {"intensities": ()},
        {"transpose": (0, 0, 1)},
        {"mirror": (3,)},
        {"order": (1, 7)},
        {"kernels": ((2, 3, 3), (3, 3, 3))},
        {"patch": (9, 8, 8)},
    ],
)
def test_what_does_not_fit_together_is_refused(change):
    with pytest.raises(ConfigError):
        plan_with(**change)


def test_a_stored_plan_is_told_by_its_kind():
    kept = TypeAdapter(StoredPlan).validate_json(to_json(plan_with()))
    assert kept == plan_with()
