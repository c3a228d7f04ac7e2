"""The rules give nnU-Net's shapes where they follow it, and always a network that can be built."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.drawing import (
    GPU,
    LABELS,
    SMALL,
    case_facts,
    choose_stages,
    fingerprint_of,
    round_up,
    seen,
)
from volunet.errors import ConfigError
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.machine import Machine
from volunet.planning.make import check_wanted, make_plan
from volunet.planning.plan import Plan
from volunet.planning.rules import (
    SMALLEST_SIDE,
    choose_features,
    choose_intensity,
    choose_kernels,
    choose_patch,
    choose_shape,
    choose_spacing,
    choose_strides,
    largest_batch,
    patch_voxels,
)

HIPPOCAMPUS = fingerprint_of(((36, 50, 35), (1.0, 1.0, 1.0)))
# nnU-Net's own example of thick slices (prostate, supplementary table of Isensee et al. 2021).
PROSTATE = fingerprint_of(((320, 320, 20), (0.62, 0.62, 3.6)))

sides = st.integers(1, 300)
shapes = st.tuples(sides, sides, sides)
spacings = st.tuples(*[st.sampled_from([0.4, 0.62, 0.8, 1.0, 1.5, 2.5, 3.0, 3.6, 5.0, 10.0])] * 3)


def noise_facts(fingerprint: Fingerprint) -> Fingerprint:
    """The same shapes and spacings, with the intensities of a case of noise."""
    channels = next(iter(seen([0])[0].cases.values())).channels
    return Fingerprint(
        cases={
            name: case.model_copy(update={"channels": channels})
            for name, case in fingerprint.cases.items()
        }
    )


def sizes(patch, strides):
    """Sides of the feature maps of every stage."""
    found = [tuple(patch)]
    for stride in strides:
        found.append(tuple(n // step for n, step in zip(found[-1], stride, strict=True)))
    return found


def test_the_hippocampus_is_seen_whole_and_halved_three_times():
    plan = make_plan(noise_facts(HIPPOCAMPUS), ("MR",), LABELS, SMALL)
    assert plan.spacing == (1, 1, 1)
    assert plan.patch == (40, 56, 40)
    assert plan.strides == ((2, 2, 2),) * 3
    assert plan.kernels == ((3, 3, 3),) * 4
    assert plan.features == (16, 32, 64, 128)
    assert plan.batch == 2
    assert [i.scheme for i in plan.intensities] == ["image"]


def test_thick_slices_keep_their_axis_and_are_looked_at_one_by_one_first():
    spacing = choose_spacing(PROSTATE)
    patch = choose_patch(choose_shape(PROSTATE, spacing), spacing, 128**3)
    strides, kernels = choose_stages(patch, spacing)
    assert spacing == (0.62, 0.62, 3.6)
    assert strides[:2] == ((2, 2, 1), (2, 2, 1))  # 0.62 and 1.24 are less than half of 3.6
    assert kernels[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert strides[2] == (2, 2, 2)


def test_a_thick_first_axis_has_the_same_rules():
    strides, kernels = choose_stages((20, 320, 320), (3.6, 0.62, 0.62))
    assert strides[:3] == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))


def test_the_spacing_is_the_median_axis_by_axis():
    steps = [(1.0, 2.0, 3.0), (2.0, 2.0, 2.0), (1.5, 9.0, 2.5)]
    cases = {str(n): case_facts((50, 50, 50), step) for n, step in enumerate(steps)}
    assert choose_spacing(Fingerprint(cases=cases)) == (1.5, 2.0, 2.5)


@pytest.mark.parametrize(
    ("slices", "thick_mm", "expected"),
    [
        (20, [5.0] * 5 + [3.0] * 5, 3.0),  # the 10 % quantile of five and three
        (20, [5.0] * 9 + [0.5], 4.55),
        (20, [4.0] * 10, 4.0),
        (150, [5.0] * 5 + [4.0] * 5, 4.5),  # as many voxels as across: the median
    ],
)
def test_a_thick_axis_takes_its_tenth_quantile(slices, thick_mm, expected):
    cases = {
        str(n): case_facts((300, 300, slices), (0.8, 0.8, mm)) for n, mm in enumerate(thick_mm)
    }
    assert choose_spacing(Fingerprint(cases=cases)) == pytest.approx((0.8, 0.8, expected))


def test_a_thick_axis_is_never_finer_than_the_others():
    cases = {
        str(n): case_facts((300, 300, 20), (0.8, 0.7, mm))
        for n, mm in enumerate([5.0, 5.0, 0.1, 5.0, 0.1, 5.0, 5.0])
    }
    assert choose_spacing(Fingerprint(cases=cases)) == (0.8, 0.7, 0.8)


@given(shapes, spacings, st.integers(1, 5))
def test_no_feature_map_is_smaller_than_four_where_the_patch_allowed_it(patch, spacing, most):
    strides = choose_strides(patch, spacing, most=most)
    rounded = round_up(patch, strides)
    divisor = [prod(axis) for axis in zip(*strides, strict=True)]
    assert len(strides) <= most
    for n, grown, d, last in zip(patch, rounded, divisor, sizes(rounded, strides)[-1], strict=True):
        assert grown % d == 0
        assert n <= grown < n + d
        assert last >= min(n, SMALLEST_SIDE)


@given(shapes, spacings)
def test_strides_halve_all_they_can_and_never_the_thicker_axis_first(patch, spacing):
    strides, kernels = choose_stages(patch, spacing)
    assert len(kernels) == len(strides) + 1
    if len(strides) < 5:
        assert max(sizes(round_up(patch, strides), strides)[-1]) < 2 * SMALLEST_SIDE
    coarse = np.array(spacing)
    for stride in strides:
        if max(stride) > 1:
            halved = coarse[np.array(stride) == 2]
            assert halved.max() < 2 * halved.min()
        coarse = coarse * stride


@given(shapes, spacings)
def test_kernels_grow_and_always_span_the_finest_axis(patch, spacing):
    strides, kernels = choose_stages(patch, spacing)
    coarse = np.array(spacing)
    for kernel, stride in zip(kernels, ((1, 1, 1), *strides), strict=True):
        coarse = coarse * stride
        assert kernel[int(coarse.argmin())] == 3
    assert (np.diff(np.array(kernels), axis=0) >= 0).all()
    assert kernels == choose_kernels(spacing, strides)


@given(shapes, spacings, st.integers(1000, 10**7))
def test_a_patch_is_no_larger_than_the_scan_nor_than_allowed(shape, spacing, most):
    patch = choose_patch(shape, spacing, most)
    assert all(1 <= p <= n for p, n in zip(patch, shape, strict=True))
    assert prod(p - 0.5 for p in patch) <= most  # each side is rounded
    if prod(shape) <= most:
        assert patch == shape


@given(shapes, spacings)
def test_a_patch_of_a_large_scan_is_near_to_a_cube_in_mm(shape, spacing):
    patch = np.array(choose_patch(shape, spacing, 20_000))
    length, cut = patch * spacing, patch < np.array(shape) * 0.95
    if cut.any():
        slack = 0.6 * np.array(spacing).max()
        assert length[cut].min() >= 0.94 * length.max() - 2 * slack


@pytest.mark.parametrize(
    ("machine", "voxels"),
    [
        (Machine("cpu", 1, 8), 100_000),
        (Machine("cpu", 2, 8), 160_000),
        (Machine("cpu", 64, 8), 128**3),
        (Machine("cuda", 8, 4), 128**3 // 2),
        (Machine("cuda", 8, 8), 128**3),
        (Machine("cuda", 8, 80), 192**3),
    ],
)
def test_the_machine_says_how_large_a_patch_may_be(machine, voxels):
    assert patch_voxels(machine) == voxels


def test_features_double_up_to_320():
    assert choose_features(6, GPU) == (32, 64, 128, 256, 320, 320)
    assert choose_features(6, SMALL) == (16, 32, 64, 128, 256, 320)


def test_a_batch_sees_a_twentieth_of_the_set_at_most_but_two_patches():
    assert largest_batch((40, 56, 40), HIPPOCAMPUS, (1, 1, 1), SMALL) == 2
    assert largest_batch((40, 56, 40), HIPPOCAMPUS, (1, 1, 1), GPU) == 2
    many = fingerprint_of(((100, 100, 100), (1.0, 1.0, 1.0)), n=40)
    assert largest_batch((50, 50, 50), many, (1, 1, 1), GPU) == 16  # 2e6 of 40e6 voxels
    assert largest_batch((8, 8, 8), many, (1, 1, 1), GPU) == 64


@pytest.mark.parametrize("name", ["CT", "ct", "portal venous CT", "low-dose_ct", "CT_1"])
def test_ct_is_clipped_and_scaled_by_what_the_foreground_of_the_set_holds(name):
    fingerprint, voxels = seen([1, 2, 3])
    intensity = choose_intensity(name, fingerprint, 0)
    assert intensity.scheme == "set"
    assert intensity.low == pytest.approx(np.quantile(voxels, 0.005), abs=15)
    assert intensity.high == pytest.approx(np.quantile(voxels, 0.995), abs=15)
    assert intensity.mean == pytest.approx(voxels.mean(), rel=1e-4)
    assert intensity.sd == pytest.approx(voxels.std(), rel=1e-4)


@pytest.mark.parametrize("name", ["MR", "T1", "PET", "FLAIR acted on", "CTA", "noCT", ""])
def test_all_else_is_scaled_by_each_image(name):
    assert choose_intensity(name, seen([1])[0], 0).scheme == "image"


def test_a_ct_whose_foreground_is_constant_is_scaled_by_each_image():
    assert choose_intensity("CT", seen([1], spread=0.0)[0], 0).scheme == "image"


@settings(max_examples=8)
@given(st.lists(st.tuples(st.tuples(*[st.integers(2, 300)] * 3), spacings), min_size=1, max_size=4))
def test_any_set_gives_a_plan_whose_network_takes_its_patch(cases):
    fingerprint = noise_facts(fingerprint_of(*cases, n=1))
    plan = make_plan(fingerprint, ("CT",), LABELS, SMALL)
    assert all(p % d == 0 for p, d in zip(plan.patch, plan.sizes.step, strict=True))
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    with torch.device("meta"):
        network = plan.build_network()
        logits = network(torch.empty(1, 1, *plan.patch))
    assert logits.shape == (1, 3, *plan.patch)


@pytest.mark.parametrize(
    "fixed",
    [
        {"patch": [48, 48, 32]},
        {"batch": 1},
        {"spacing": [2, 2, 2]},
        {"features": [8, 16, 24]},
        {"features": [8, 16]},
        {"strides": [[2, 2, 1], [2, 2, 2]]},
        {"kernels": [[3, 3, 1], [3, 3, 1], [3, 3, 3], [3, 3, 3]]},
        {"interpolation": "cubic", "overlap": 0.25, "residual": True, "attention": True},
        {"intensities": [{"scheme": "set", "low": 0, "high": 9, "mean": 4.5, "sd": 2}]},
    ],
)
def test_what_is_fixed_stays_and_the_rest_is_chosen_to_fit(fixed):
    plan = make_plan(noise_facts(HIPPOCAMPUS), ("MR",), LABELS, SMALL, fixed=fixed)
    told = plan.model_dump(mode="json")
    assert {key: check_wanted({key: told[key]}) for key in fixed} == {
        key: check_wanted({key: value}) for key, value in fixed.items()
    }


@pytest.mark.parametrize(
    ("fixed", "says"),
    [
        ({"spacing": 1.5}, "plan: spacing: Input should be a valid tuple"),
        ({"spacing": [1, 1]}, "plan is incomplete: 'spacing.2' is missing"),
        ({"spacing": [0, 1, 1]}, "spacing.0: Input should be greater than 0"),
        ({"patch": "big"}, "plan: patch: Input should be a valid tuple"),
        ({"patch": [41, 56, 40]}, "must be a multiple of"),
        ({"features": [8] * 9}, "9 features need as many kernels"),
        ({"kernels": [[3, 3, 2]] * 4}, "kernels must be odd"),
        ({"supervised_scales": 4}, "supervised_scales must be below 4"),
        ({"stride": [[2, 2, 2]]}, "does not know 'stride'. Did you mean 'strides'?"),
        ({"labels": {}}, "does not know 'labels'"),
    ],
)
def test_what_cannot_be_fixed_is_refused_with_its_name(fixed, says):
    with pytest.raises(ConfigError, match=says):
        make_plan(noise_facts(HIPPOCAMPUS), ("MR",), LABELS, SMALL, fixed=fixed)


@pytest.mark.parametrize(
    ("fixed", "residual"),
    [({}, True), ({"residual": False}, False), ({"family": "nnunet"}, False)],
)
def test_u_nets_that_segment_have_residual_blocks_unless_told_otherwise(fixed, residual):
    plan = make_plan(noise_facts(HIPPOCAMPUS), ("MR",), LABELS, SMALL, fixed=fixed)
    assert plan.residual == residual
