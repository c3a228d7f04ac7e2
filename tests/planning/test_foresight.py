"""What segmenting will take grows with the work, and shrinks with every lever."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.drawing import plan_for
from volunet.io.header import Header
from volunet.planning.foresight import MAPS, Way, inference_demand
from volunet.planning.memory import count_weights
from volunet.space.grid import Grid
from volunet.space.labels import Labels

few = settings(max_examples=15)
shapes = st.tuples(*[st.integers(8, 300)] * 3)
patches = st.tuples(*[st.integers(2, 16).map(lambda n: 4 * n)] * 3)
TILTED = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])


def scan(shape, kind="i2", channels=1, affine=None, **more) -> Header:
    grid = Grid(shape, np.eye(4) if affine is None else affine)
    return Header(grid, channels, np.dtype(kind), **more)


def classes(count: int) -> Labels:
    return Labels(structures={str(n): n for n in range(1, count)})


@few
@given(patches, shapes, st.integers(0, 2), st.sampled_from(sorted(MAPS)))
def test_more_work_takes_no_less(patch, shape, axis, engine):
    plan, way = plan_for(patch=patch), Way(engines=(engine,))
    needed = inference_demand(plan, scan(shape), way).total
    grown = tuple(n + 32 * (a == axis) for a, n in enumerate(shape))
    wider = tuple(n + 4 * (a == axis) for a, n in enumerate(patch))
    assert inference_demand(plan, scan(grown), way).total > needed
    assert inference_demand(plan, scan(shape, "f4"), way).total > needed
    assert inference_demand(plan_for(patch=wider), scan(shape), way).total >= needed
    assert inference_demand(plan_for(patch=patch, labels=classes(30)), scan(shape), way).total > (
        needed
    )
    assert inference_demand(plan, scan(shape), replace(way, batch=4)).total >= needed
    assert inference_demand(plan, scan(shape), replace(way, looks=8)).total >= needed
    assert inference_demand(plan, scan(shape), replace(way, networks=5)).total > needed
    assert inference_demand(plan, scan(shape), way, beside=1e6).total == needed + 1e6


@few
@given(patches, shapes, st.integers(1, 6))
def test_every_lever_takes_no_more(patch, shape, strips):
    plan, way = plan_for(patch=patch, labels=classes(60)), Way(strips=strips)
    needed = inference_demand(plan, scan(shape), replace(way, batch=2)).total
    for lever in ({"accumulator": 2}, {"strips": 2 * strips}, {"batch": 1}):
        less = replace(way, **({"batch": 2} | lever))
        assert inference_demand(plan, scan(shape), less).total <= needed


def test_the_parts_are_what_they_say():
    plan = plan_for(patch=(32, 32, 32), labels=classes(10))
    demand = inference_demand(plan, scan((200, 150, 100)), Way(accumulator=2, strips=3))
    assert demand.scan == 200 * 150 * 100 * 2
    assert demand.image == 200 * 150 * 100 * 4 + 5 * 50 * 38 * 25  # and cells of 4 mm
    assert demand.sums == 10 * 32 * 51 * 100 * 2
    assert demand.gpu == 0
    assert demand.largest == demand.total


def test_sums_and_maps_lie_on_the_gpu_where_there_is_one():
    plan = plan_for(patch=(64, 64, 64), labels=classes(50))
    here, there = (
        inference_demand(plan, scan((200, 200, 200)), Way(on_gpu=on_gpu))
        for on_gpu in (False, True)
    )
    assert there.sums == there.network == 0
    assert there.total < here.total
    assert there.gpu > here.sums + here.network
    assert there.largest == there.gpu


def test_an_engine_is_tried_against_torch_though_it_was_asked_for_by_name():
    plan, small = plan_for(patch=(96, 96, 96), features=(32, 64, 64)), scan((96, 96, 96))
    named = inference_demand(plan, small, Way(engines=("openvino bf16",), tried=True))
    alone = inference_demand(plan, small, Way(engines=("torch fp32",)))
    known = inference_demand(plan, small, Way(engines=("openvino bf16",)))
    assert named.network > alone.network > known.network


def test_what_is_compared_and_what_onnx_answers_lie_beside_the_gpu():
    plan, large = plan_for(patch=(64, 64, 64), labels=classes(100)), scan((200, 200, 200))
    logits = 4 * 100 * 64**3
    tried = inference_demand(plan, scan((64, 64, 64)), Way(tried=True, on_gpu=True))
    assert tried.network == pytest.approx(7 * logits)  # two windows, thrice, and the last answer
    here, there = (
        inference_demand(plan, large, Way(engines=("onnx fp32",), on_gpu=on_gpu))
        for on_gpu in (False, True)
    )
    assert there.sums == here.sums > 0


def test_the_weights_of_all_networks_lie_on_the_gpu():
    plan = plan_for(patch=(32, 32, 32))
    one, five = (
        inference_demand(plan, scan((64, 64, 64)), Way(networks=n, looks=2, on_gpu=True)).gpu
        for n in (1, 5)
    )
    assert five - one == 4 * 4 * count_weights(plan)


def test_converted_networks_keep_their_maps_each():
    plan = plan_for(patch=(64, 64, 64))
    needed = {
        engine: [
            inference_demand(
                plan, scan((64, 64, 64)), Way(engines=(engine,), networks=n, looks=2)
            ).network
            for n in (1, 5)
        ]
        for engine in ("torch fp32", "openvino fp32")
    }
    assert needed["torch fp32"][0] == needed["torch fp32"][1]
    assert needed["openvino fp32"][1] > needed["openvino fp32"][0]


def test_a_deadline_takes_more_maps_of_labels():
    plan = plan_for(patch=(32, 32, 32))
    calm, hurried = (
        inference_demand(plan, scan((200, 150, 100)), Way(hurried=hurried)).total
        for hurried in (False, True)
    )
    assert hurried - calm >= 200 * 150 * 100


def test_reading_may_be_the_peak():
    plan = plan_for(patch=(8, 8, 8), spacing=(4.0, 4.0, 4.0))
    plain = inference_demand(plan, scan((400, 400, 400), "f4"))
    scaled = inference_demand(plan, scan((400, 400, 400), "f4", stored=np.dtype("i2"), copies=2))
    assert scaled.total > plain.total


def test_looking_for_the_body_takes_memory_where_every_voxel_is_looked_at():
    plan = plan_for(patch=(8, 8, 8), spacing=(8.0, 8.0, 8.0))
    thin, thick = (
        inference_demand(plan, scan((300, 300, 300), "u1", affine=np.diag([mm, mm, mm, 1]))).total
        for mm in (2.0, 2.1)
    )
    assert thick - thin > 4 * 300**3


@pytest.mark.parametrize("engines", [("torch fp32", "openvino bf16"), ("torch fp32",)])
def test_a_trial_of_engines_is_counted(engines):
    plan = plan_for(patch=(96, 96, 96), labels=classes(104))
    way = Way(engines=engines)
    needed = [
        inference_demand(plan, scan((96, 96, 96)), replace(way, tried=tried)).total
        for tried in (False, True)
    ]
    assert needed[1] > needed[0]
