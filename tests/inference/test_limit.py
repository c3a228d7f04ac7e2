"""The cheapest way that fits a limit is taken, and where none does, that is said."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf

import numpy as np
import pytest
import torch

from tests.planning.drawing import plan_for
from volunet.findings import Refused, Severity
from volunet.inference.effort import Effort
from volunet.inference.limit import STRIPS, USABLE, Room, _options, foresee
from volunet.inference.place import Place
from volunet.inference.segmenter import Segmenter
from volunet.io.header import Header
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.foresight import Way, inference_demand
from volunet.planning.intensity import Intensity
from volunet.planning.machine import host_memory_bytes
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.labels import Labels

PLAN = plan_for(
    patch=(96, 96, 96),
    labels=Labels(structures={str(n): n for n in range(1, 104)}),
    spacing=(0.8, 0.8, 0.8),
)
SCAN = Header(Grid((512, 512, 600), np.diag([-0.8, -0.8, 0.8, 1.0])), 1, np.dtype("i2"))


def seen(limit, effort=Effort(), scan=SCAN, **more):  # noqa: B008 - a frozen value
    return foresee(PLAN, scan, ["torch fp32"], effort, limit=limit, **more)


@pytest.mark.parametrize(
    ("limit_gb", "strips", "sums"),
    [
        (16, 1, torch.float32),
        (10, 2, torch.float32),
        (8, 3, torch.float32),
        (5, 3, torch.float16),
        (4, 4, torch.float16),
        (3, 8, torch.float16),
    ],
)
def test_a_limit_picks_the_lever(limit_gb, strips, sums):
    found = seen(limit_gb * 1e9)
    assert (found.effort.strips, found.effort.accumulator) == (strips, sums)
    assert found.demand.total <= limit_gb * 1e9


@pytest.mark.parametrize("limit", np.linspace(2.8e9, 20e9, 12))
def test_no_cheaper_way_would_have_fitted(limit):
    found = seen(limit)
    assert found.demand.total <= limit
    for strips in STRIPS[: STRIPS.index(found.effort.strips)]:
        kind = found.effort.accumulator.itemsize
        way = Way(("torch fp32",), strips=strips, accumulator=kind)
        assert inference_demand(PLAN, SCAN, way).total > limit


def test_where_there_is_room_nothing_is_changed():
    effort = Effort(batch=3, mirror=(0, 1))
    found = seen(inf, effort)
    assert found.effort is effort
    assert found.demand == inference_demand(PLAN, SCAN, Way(("torch fp32",), batch=3, looks=4))


def test_what_was_asked_for_is_kept():
    effort = Effort(overlap=0.25, mirror=(2,), skip_air=True, accumulator=torch.bfloat16, batch=4)
    found = seen(4e9, effort)
    kept = replace(found.effort, strips=1, batch=4)
    assert kept == effort


def test_windows_come_one_at_a_time_where_a_batch_does_not_fit():
    alone = seen(inf).demand.total
    assert seen(alone * 1.01, Effort(batch=8)).effort.batch == 1


def test_memory_for_other_scans_counts():
    free = seen(inf).demand.total
    assert seen(free * 1.01).effort.strips == 1
    assert seen(free * 1.01, beside=0.3 * free).effort != Effort()


def test_too_little_memory_is_refused_with_what_is_needed():
    with pytest.raises(Refused) as refused:
        seen(1e9)
    (found,) = refused.value.findings
    assert (found.code, found.severity) == ("RES-MEMORY", Severity.REFUSE)
    assert "512 x 512 x 600 voxels into 104 classes" in found.message
    assert "1.00 GB are allowed" in found.message
    needed = found.numbers["needed_gb"]
    assert found.numbers["limit_gb"] == 1
    assert seen(needed * 1.001e9).demand.total <= needed * 1.001e9
    with pytest.raises(Refused):
        seen(needed * 0.99e9)


def grown_past(share: float) -> Header:
    """A scan that takes such a share of this machine's memory in the fastest way, and more."""
    side = 96
    while True:
        scan = Header(Grid((96, side, side), np.diag([-0.8, -0.8, 0.8, 1.0])), 1, np.dtype("i2"))
        if seen(inf, scan=scan).demand.total > share * host_memory_bytes():
            return scan
        side = ceil(1.05 * side)


def test_without_a_limit_the_machine_s_memory_is_one():
    scan = grown_past(1.0)
    found = seen(None, scan=scan)
    assert found.effort != Effort()
    assert found.demand.total <= USABLE * host_memory_bytes()
    assert found == seen(USABLE * host_memory_bytes(), scan=scan)
    assert seen(2.0 * host_memory_bytes(), scan=scan).effort == Effort()


def test_a_scan_that_no_way_brings_into_the_machine_is_refused_with_what_it_would_take():
    with pytest.raises(Refused, match=r"of this machine's .* may be taken") as refused:
        seen(None, scan=grown_past(40.0))
    (found,) = refused.value.findings
    assert found.code == "RES-MEMORY"
    assert found.numbers["needed_gb"] > found.numbers["limit_gb"]
    assert seen(1.01e9 * found.numbers["needed_gb"], scan=grown_past(40.0))


def within(scan: Header, share: float, limit: float | None = None) -> Segmenter:
    """A model that is asked for the first part of a scan alone, in so much of its second axis."""
    model = Segmenter(
        (lambda windows: windows,), PLAN, Fingerprint(cases={}), "model", Effort(), max_memory=limit
    )
    i, j, k = scan.grid.shape
    ends = np.array([(0, 0, 0), (i, max(share * j, 1), k)]) - 0.5
    corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(-1, 3)
    return model.only(Place(scan.grid.to_world(corners)))


def test_a_region_that_is_most_of_a_large_scan_is_looked_at_in_a_leaner_way_too():
    scan = grown_past(1.0)
    most = within(scan, 0.99).foresee(scan)
    assert most.effort != Effort()
    assert most.demand.total <= USABLE * host_memory_bytes()
    assert within(scan, 0.05).foresee(scan).effort == Effort()


@pytest.mark.parametrize("limit", [5e9, 7e9])
def test_of_a_small_region_what_it_takes_itself_is_held_against_the_limit(limit):
    small, large = (within(SCAN, share, limit).foresee(SCAN) for share in (0.1, 1.0))
    assert small.effort == Effort()
    assert large.effort != Effort()
    assert max(small.demand.total, large.demand.total) <= limit
    assert small.demand.scan == large.demand.scan == SCAN.nbytes


def test_where_images_are_scaled_by_all_they_hold_the_whole_image_counts_for_a_region():
    by_image, by_set = (
        replace(within(SCAN, 0.1), plan=PLAN.model_copy(update={"intensities": (intensity,)}))
        for intensity in (
            Intensity(scheme="image"),
            Intensity(scheme="set", low=0, high=1, mean=0, sd=1),
        )
    )
    assert by_image.foresee(SCAN).demand.image > 4 * by_set.foresee(SCAN).demand.image
    assert by_image.foresee(SCAN).demand.sums == by_set.foresee(SCAN).demand.sums


def test_a_region_beside_a_scan_is_told_by_its_header():
    beside = Header(SCAN.grid.crop(Box((0, 600, 0), (10, 610, 10))), 1, np.dtype("i2"))
    with pytest.raises(Refused, match="ROI-OUTSIDE"):
        within(SCAN, 0.5).foresee(beside)


def test_what_other_scans_take_is_not_counted_in_what_a_refused_one_needs():
    with pytest.raises(Refused) as alone:
        seen(1e9)
    with pytest.raises(Refused) as beside:
        seen(1e9, beside=5e8)
    assert beside.value.findings == alone.value.findings


def test_a_gpu_that_may_not_have_the_memory_is_tried():
    least = seen(2.8e9).demand
    host = 1.1 * least.total
    assert Room(host, 1e9, asked=False).admits(replace(least, gpu=2e9))
    assert not Room(host, 1e9, asked=True).admits(replace(least, gpu=2e9))
    assert not Room(0.9 * least.total, inf, asked=False).admits(least)


def test_a_small_scan_has_no_more_strips_than_columns():
    thin = Header(Grid((90, 2, 90), np.diag([0.8, 0.8, 0.8, 1.0])), 1, np.dtype("i2"))
    plan = plan_for(patch=(32, 4, 32), strides=((2, 2, 2), (2, 1, 2)), spacing=(0.8, 0.8, 0.8))
    options = _options(plan, plan.grid_for(thin.grid), Effort())
    assert {option.strips for option in options} == {1, 2}
    least = foresee(plan, thin, ["torch fp32"], Effort(), limit=inf).demand.total
    with pytest.raises(Refused):
        foresee(plan, thin, ["torch fp32"], Effort(), limit=0.5 * least)


def test_an_engine_of_ones_own_is_taken_for_torch():
    own, known = (
        foresee(PLAN, SCAN, [engine], Effort(), limit=inf).demand
        for engine in (lambda windows: windows, "torch fp32")
    )
    assert own == known
