"""Estimates come back on the scan's own axes, in its own unit, as corrections or as they are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.strategies import grids, orientations, straight_grids, tilted
from volunet.errors import ConfigError
from volunet.inference.cover import cover
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.estimating import estimate
from volunet.inference.segmenter import Segmenter
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.space.grid import Grid
from volunet.space.picture import is_picture, picture_grid
from volunet.space.resample import resample
from volunet.space.volume import Volume

SET = {"scheme": "set", "low": -1000.0, "high": 3000.0, "mean": 40.0, "sd": 200.0}


def plan(**changed) -> Plan:
    told = {
        "channels": ("CT",),
        "labels": {"structures": {}},
        "targets": {"names": ("CT",), "scales": (None,)},
        "corrects": True,
        "spacing": (1.0, 1.0, 1.0),
        "respace": False,
        "patch": (8, 8, 8),
        "features": (4, 8),
        "strides": ((2, 2, 2),),
        "kernels": ((3, 3, 3), (3, 3, 3)),
        "intensities": (SET,),
        "batch": 1,
    }
    return Plan.model_validate(told | changed)


class Says(nn.Module):
    """The same of every voxel, or some times the first channel."""

    def __init__(self, constant: float = 0.0, *, times: float = 0.0) -> None:
        super().__init__()
        self.constant, self.times = constant, times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.times * x[:, :1] + self.constant


def estimator(aim: Plan, network: nn.Module, effort: Effort | None = None) -> Segmenter:
    engine = TorchEngine(network, device="cpu")
    effort = effort or Effort(overlap=0.5)
    return Segmenter((engine,), aim, Fingerprint(cases={}), "some", effort)


def scan_on(grid: Grid, seed: int = 0) -> Volume:
    rng = np.random.default_rng(seed)
    return Volume(rng.integers(-900, 2000, (1, *grid.shape)).astype(np.int16), grid)


@settings(max_examples=25)
@given(st.one_of(straight_grids(side=12), grids(side=9, spacing=(0.5, 3.0))))
def test_a_network_that_corrects_nothing_gives_the_scan_back(grid):
    scan = scan_on(grid)
    found = estimator(plan(), Says())(scan).values
    assert found.voxels.dtype == np.float32
    assert found.grid.matches(grid)
    np.testing.assert_allclose(found.voxels, scan.voxels, atol=0.01)


@settings(max_examples=15)
@given(straight_grids(side=12))
def test_a_correction_is_in_the_spread_of_the_channel(grid):
    scan = scan_on(grid)
    found = estimator(plan(), Says(0.5))(scan).values
    np.testing.assert_allclose(found.voxels, scan.voxels + 100.0, atol=0.01)


def test_an_image_scaled_by_itself_is_given_back_by_the_same_numbers():
    scan = scan_on(Grid((9, 10, 11), np.eye(4)))
    found = estimator(plan(intensities=({"scheme": "image"},)), Says(0.5))(scan).values
    sd = scan.voxels.astype(np.float64).std()
    np.testing.assert_allclose(found.voxels, scan.voxels + 0.5 * sd, rtol=1e-4)


def test_a_target_of_another_kind_has_its_own_scale():
    other = {"names": ("dose",), "scales": ({"mean": 7.0, "sd": 3.0},)}
    scan = scan_on(Grid((9, 10, 11), np.eye(4)))
    found = estimator(plan(targets=other, corrects=False), Says(times=2.0))(scan).values
    expected = 7.0 + 3.0 * 2.0 * (scan.voxels - 40.0) / 200.0
    np.testing.assert_allclose(found.voxels, expected, atol=0.01)


@settings(max_examples=20)
@given(orientations, st.tuples(*[st.integers(1, 3)] * 3))
def test_a_finer_target_covers_the_scan_with_its_own_axes(orientation, finer):
    grid = Grid((5, 6, 7), np.diag([1.0, 2.0, 3.0, 1.0])).reoriented(orientation)
    scan = scan_on(grid)
    told = {"names": ("CT",), "scales": (None,), "finer": finer}
    found = estimator(plan(targets=told), Says())(scan).values
    assert found.grid.orientation == orientation
    assert found.grid.extent_mm == pytest.approx(grid.extent_mm)
    along_ras = np.divide(found.grid.reoriented("RAS").shape, grid.reoriented("RAS").shape)
    assert tuple(along_ras) == finer
    expected = resample(scan, found.grid, method="linear").voxels
    np.testing.assert_allclose(found.voxels, expected, atol=0.05)


@pytest.mark.parametrize("told", [{"respace": True}, {"size": (7, 9, 8)}], ids=["respaced", "size"])
def test_corrections_are_added_to_the_voxels_that_no_preparation_blurred(told):
    scan = scan_on(Grid((10, 12, 14), np.diag([0.6, 0.7, 0.8, 1.0])))
    found = estimator(plan(**told), Says())(scan).values
    np.testing.assert_allclose(found.voxels, scan.voxels, atol=0.01)


def test_what_is_clipped_for_the_network_is_given_back_whole():
    scan = scan_on(Grid((9, 9, 9), np.eye(4)))
    scan.voxels[0, 4, 4, 4] = 20_000
    narrow = SET | {"low": -100.0, "high": 100.0}
    found = estimator(plan(intensities=(narrow,)), Says(0.5))(scan).values
    np.testing.assert_allclose(found.voxels, scan.voxels + 100.0, atol=0.01)


def test_air_is_estimated_whatever_effort_is_asked_for():
    asked = estimator(plan(), Says()).with_effort(Effort(crop=True, skip_air=True)).effort
    assert (asked.crop, asked.skip_air) == (False, False)


def test_respaced_scans_come_back_to_their_own_grid():
    affine = np.eye(4)
    affine[:3, :3] = tilted() * 1.5
    scan = Volume(np.full((1, 10, 12, 14), 33.0, dtype=np.float32), Grid((10, 12, 14), affine))
    found = estimator(plan(respace=True), Says(0.5))(scan).values
    assert found.grid.matches(scan.grid)
    np.testing.assert_allclose(found.voxels, 133.0, atol=0.01)


@pytest.mark.parametrize(
    "effort",
    [Effort(strips=3), Effort(mirror=(0, 1, 2)), Effort(overlap=0.0), Effort(batch=3)],
    ids=["strips", "mirrors", "side by side", "batches"],
)
def test_how_it_is_looked_at_changes_nothing_for_a_network_without_context(effort):
    image = np.random.default_rng(0).normal(size=(1, 20, 17, 15)).astype(np.float32)
    engine = TorchEngine(Says(1.0, times=0.5), device="cpu")
    found = estimate([engine], image, plan(corrects=False, **OTHER), effort)
    np.testing.assert_allclose(found, 1.0 + 0.5 * image, atol=1e-5)


OTHER = {"targets": {"names": ("MR",), "scales": ({"mean": 0.0, "sd": 1.0},)}}


@pytest.mark.parametrize(("top", "kind"), [(255, np.uint8), (65535, np.uint16)])
def test_estimates_of_pictures_are_pixels(top, kind):
    scale = {"scheme": "set", "low": 0.0, "high": float(top), "mean": 0.0, "sd": float(top)}
    told = {"names": ("CT",), "scales": (None,), "top": top, "finer": (2, 2, 1)}
    aim = plan(targets=told, intensities=(scale,), patch=(8, 8, 1), dimensions=2, **FLAT)
    values = np.array([[0, top], [top // 2, 3]], dtype=kind).repeat(4, 0).repeat(4, 1)
    scan = Volume(values[None, ..., None], picture_grid(8, 8))
    seen = estimator(aim, Says(0.6 / top))(scan).values
    assert is_picture(seen.grid)
    assert seen.grid.shape == (16, 16, 1)
    assert seen.voxels.dtype == kind
    assert (seen.voxels.min(), seen.voxels.max()) == (1, top)  # rounded up, and kept within


FLAT = {"strides": ((2, 2, 1),), "kernels": ((3, 3, 1), (3, 3, 1))}


def test_what_asks_for_structures_is_refused_with_advice():
    ready = estimator(plan(), Says())
    mask = Volume(np.ones((1, 3, 3, 3), dtype=np.uint8), Grid((3, 3, 3), np.eye(4)))
    for ask in (
        lambda: ready.only(["liver"]),
        lambda: ready.only(mask),
        lambda: ready.by(3.0),
    ):
        with pytest.raises(ConfigError, match="estimates CT everywhere"):
            ask()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_an_answer_that_is_no_number_is_an_error_in_sums_of_any_type(kind, bad):
    image = np.zeros((1, 9, 9, 9), dtype=np.float32)
    engine = TorchEngine(Says(bad), device="cpu")
    with pytest.raises(Exception, match="not finite"):
        list(cover([engine], image, (8, 8, 8), Effort(accumulator=kind)))
