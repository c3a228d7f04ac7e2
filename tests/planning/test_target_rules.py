"""The rules scale targets by the whole set, and look at scans on the grids of their targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.drawing import LABELS, NO_LABELS, SMALL, seeds, seen, seen_targets
from volunet.errors import ConfigError
from volunet.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint, take_target_facts
from volunet.planning.intensity import Intensity
from volunet.planning.make import make_plan
from volunet.planning.plan import Plan
from volunet.planning.targets import Scale, Targets
from volunet.space.grid import Grid
from volunet.space.picture import picture_grid
from volunet.space.volume import Volume

few = settings(max_examples=8)


def planned(fingerprint: Fingerprint, channels, targets, **fixed) -> Plan:
    return make_plan(fingerprint, channels, NO_LABELS, SMALL, targets=targets, fixed=fixed)


@few
@given(seeds, st.sampled_from([(1, 1, 1), (2, 2, 1), (1, 2, 3)]))
def test_targets_of_other_kinds_are_scaled_by_all_their_voxels_together(drawn, finer):
    fingerprint, _, voxels = seen_targets(drawn, targets=2, finer=finer)
    plan = planned(fingerprint, ("MR",), ("CT", "PET"))
    assert (plan.corrects, plan.respace, plan.heads) == (False, False, ("CT", "PET"))
    assert (plan.targets.finer, plan.targets.top) == (finer, 0)
    for target, scale in enumerate(plan.targets.scales):
        together = np.concatenate([v[target].ravel() for v in voxels]).astype(np.float64)
        assert scale.mean == pytest.approx(together.mean(), rel=1e-9, abs=1e-9)
        assert scale.sd == pytest.approx(together.std(), rel=1e-9)


def test_targets_with_channels_names_are_corrections_scaled_as_these_are():
    fingerprint, *_ = seen_targets([1, 2], channels=2)
    plan = planned(fingerprint, ("MR", "PET"), ("PET",))
    assert (plan.corrects, plan.respace, plan.added) == (True, False, ("PET",))
    assert plan.targets == Targets(names=("PET",), scales=(None,))


def test_one_target_without_a_channels_name_and_nothing_is_corrected():
    fingerprint, _, voxels = seen_targets([1, 2], targets=2)
    plan = planned(fingerprint, ("MR",), ("MR", "CT"))
    assert (plan.corrects, plan.added) == (False, ())
    alike, other = plan.targets.scales
    assert alike is None
    together = np.concatenate([v[1].ravel() for v in voxels])
    assert other.mean == pytest.approx(together.mean(dtype=np.float64))


def test_a_recipe_may_want_no_correction():
    fingerprint, *_ = seen_targets([1, 2])
    assert not planned(fingerprint, ("MR",), ("MR",), corrects=False).corrects


def test_a_plan_with_labels_respaces_and_has_no_targets():
    plan = make_plan(seen([1, 2])[0], ("MR",), LABELS, SMALL)
    assert (plan.targets, plan.corrects, plan.respace) == (None, False, True)


def test_a_target_that_is_the_same_everywhere_is_divided_by_1():
    grid = Grid((6, 6, 6), np.eye(4))
    image = Volume(np.random.default_rng(0).normal(size=(1, 6, 6, 6)).astype(np.float32), grid)
    flat = image.with_voxels(np.full_like(image.voxels, 7.0))
    facts = take_target_facts(image, flat, finer=(1, 1, 1), top=0)
    plan = planned(Fingerprint(cases={"a": facts}), ("MR",), ("CT",))
    assert plan.targets.scales == (Scale(mean=7.0, sd=1.0),)


@few
@given(seeds)
def test_ct_is_scaled_by_all_voxels_and_nothing_of_it_is_clipped(drawn):
    fingerprint, images, _ = seen_targets(drawn)
    (ct,) = planned(fingerprint, ("CT",), ("CT",)).intensities
    together = np.concatenate([image.ravel() for image in images]).astype(np.float64)
    assert ct.scheme == "set"
    assert ct.low == pytest.approx(together.min(), rel=1e-9)
    assert ct.high == pytest.approx(together.max(), rel=1e-9)
    assert ct.mean == pytest.approx(together.mean(), rel=1e-9, abs=1e-9)
    assert ct.sd == pytest.approx(together.std(), rel=1e-9)


def test_finer_targets_halve_the_spacing_and_double_the_shape_that_is_planned_for():
    coarse, *_ = seen_targets([3, 4])
    fine, *_ = seen_targets([3, 4], finer=(2, 1, 2))
    one, other = (planned(f, ("MR",), ("MR",)) for f in (coarse, fine))
    assert one.spacing == pytest.approx(np.multiply(other.spacing, (2, 1, 2)), abs=1e-5)
    assert other.spacing == pytest.approx(
        np.median(fine.spacings, axis=0) / (2, 1, 2),
        abs=1e-5,
    )
    assert other.patch[0] >= one.patch[0]
    assert other.targets.finer == (2, 1, 2)


def test_unequally_fine_targets_are_refused_by_the_names_of_cases():
    same, *_ = seen_targets([1, 2])
    fine, *_ = seen_targets([3], finer=(2, 2, 1))
    with pytest.raises(ConfigError, match="from case to case") as caught:
        planned(same.merged(fine), ("MR",), ("MR",))
    assert "1 x 1 x 1 in 2 (1, ...)" in str(caught.value)
    assert "2 x 2 x 1 in 1 (3, ...)" in str(caught.value)


def picture_facts(shape, *, top: int, target_top: int, finer=(2, 2, 1)) -> CaseFacts:
    """Facts of a picture of noise and of its enlargement."""
    kind = np.uint8 if top == 255 else np.uint16
    rng = np.random.default_rng(0)
    grids = (picture_grid(*shape[:2]), picture_grid(shape[0] * finer[0], shape[1] * finer[1]))
    image, target = (Volume(rng.integers(0, 255, (1, *g.shape)).astype(kind), g) for g in grids)
    facts = take_target_facts(image, target, finer=finer, top=target_top)
    assert facts.top == top
    return facts


@pytest.mark.parametrize(
    ("tops", "expected"),
    [((255, 255), 255), ((255, 65535), 65535), ((65535, 65535), 65535), ((255, 0), 0), ((0,), 0)],
)
def test_estimates_are_pixels_where_all_targets_are_pictures(tops, expected):
    facts = [picture_facts((40, 30, 1), top=255, target_top=top) for top in tops]
    cases = {str(n): f for n, f in enumerate(facts)}
    plan = planned(Fingerprint(cases=cases), ("grey",), ("grey",))
    assert plan.targets.top == expected
    assert plan.targets.finer == (2, 2, 1)


def test_pictures_are_seen_as_slices_on_the_grid_of_their_enlargements():
    facts = picture_facts((40, 30, 1), top=255, target_top=255)
    plan = planned(Fingerprint(cases={"a": facts}), ("grey",), ("grey",))
    assert (plan.dimensions, plan.flat, plan.spacing) == (2, 2, (0.5, 0.5, 1.0))
    assert plan.patch == (80, 64, 1)  # 80 x 60 pixels, up to what the strides divide
    assert plan.intensities == (Intensity(scheme="set", low=0, high=255, mean=0, sd=255),)


def test_all_voxels_count_as_labelled_in_a_case_with_targets_worked_out_by_hand():
    affine = np.diag([-2.0, 1.0, 5.0, 1.0])
    image = Volume(np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4), Grid((2, 3, 4), affine))
    target = Volume(np.array([1.0, 3.0], dtype=np.float32).repeat(12).reshape(1, 2, 3, 4),
                    image.grid)  # fmt: skip
    facts = take_target_facts(image, target, finer=(1, 1, 1), top=0)
    assert (facts.shape, facts.spacing, facts.volumes_ml) == ((2, 3, 4), (2, 1, 5), {})
    assert (facts.top, facts.target_top, facts.finer) == (0, 0, (1, 1, 1))
    (channel,), (aim,) = facts.channels, facts.targets
    assert (channel.count, channel.mean, channel.image) == (24, 11.5, channel.foreground)
    assert (aim.count, aim.mean, aim.sd) == (24, 2.0, 1.0)
    assert (aim.image[0], aim.image[-1]) == (1.0, 3.0)


def test_moments_of_cases_of_unequal_size_worked_out_by_hand():
    def case(count, mean, sd):
        aim = ChannelFacts(image=(), foreground=(), count=count, mean=mean, sd=sd)
        return CaseFacts(
            shape=(1, 1, 1), spacing=(1.0, 1.0, 1.0), channels=(), volumes_ml={}, targets=(aim,)
        )

    # One voxel of 0, and three of 4 each: a mean of 3, a variance of (9 + 3 * 1) / 4.
    pooled = Fingerprint(cases={"a": case(1, 0.0, 0.0), "b": case(3, 4.0, 0.0)})
    assert pooled.target_moments(0) == pytest.approx((3.0, np.sqrt(3)))


def test_a_channel_that_is_corrected_is_not_clipped():
    fingerprint, *_ = seen_targets([1, 2])
    low, high = fingerprint.image_range(0)
    told = {"scheme": "set", "mean": 0.0, "sd": 1.0}
    wide, narrow = ([{**told, "low": low - 1, "high": top}] for top in (high + 1, (low + high) / 2))
    assert planned(fingerprint, ("MR",), ("MR",), intensities=wide).corrects
    with pytest.raises(ConfigError, match="bounds that clip nothing"):
        planned(fingerprint, ("MR",), ("MR",), intensities=narrow)
    assert planned(fingerprint, ("MR",), ("MR",), intensities=narrow, corrects=False)
