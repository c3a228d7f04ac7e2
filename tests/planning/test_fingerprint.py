"""A fingerprint of parts is the fingerprint of the whole, and its numbers are numpy's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.drawing import LABELS, labelled_case, seeds, seen
from volunet.config import build, to_json
from volunet.errors import DatasetError
from volunet.planning.fingerprint import SHARES, Fingerprint, take_facts
from volunet.space.grid import Grid
from volunet.space.volume import Volume

few = settings(max_examples=25)


@few
@given(seeds, st.integers(0, 6), st.integers(0, 6))
def test_merging_in_any_order_gives_the_whole(drawn, first, second):
    whole = seen(drawn)[0]
    cut = sorted((min(first, len(drawn)), min(second, len(drawn))))
    ends = list(pairwise((0, *cut, len(drawn))))
    a, b, c = (
        Fingerprint(cases={str(s): whole.cases[str(s)] for s in drawn[i:j]}) for i, j in ends
    )
    assert a.merged(b).merged(c) == a.merged(b.merged(c)) == c.merged(a).merged(b) == whole
    assert whole.merged(whole) == whole


@few
@given(seeds)
def test_pooled_mean_and_spread_are_those_of_all_labelled_voxels(drawn):
    fingerprint, voxels = seen(drawn, channels=2)
    for channel in range(2):
        mean, sd = fingerprint.foreground_moments(channel)
        assert mean == pytest.approx(voxels[channel].astype(float).mean(), rel=1e-9, abs=1e-9)
        assert sd == pytest.approx(voxels[channel].astype(float).std(), rel=1e-9)


@few
@given(seeds, st.sampled_from([0.005, 0.05, 0.25, 0.5, 0.8, 0.995]))
def test_pooled_quantiles_stand_where_they_say_among_all_labelled_voxels(drawn, share):
    fingerprint, voxels = seen(drawn)
    value = fingerprint.foreground_quantile(0, share)
    assert np.mean(voxels <= value) == pytest.approx(share, abs=0.03)


def test_the_quantiles_of_a_large_set_are_close_to_numpys():
    rng = np.random.default_rng(0)
    grid = Grid((40, 40, 40), np.eye(4))
    cases, inside = {}, []
    for n, centre in enumerate((-300.0, 40.0, 55.0, 900.0)):
        voxels = rng.normal(centre, 20 + 10 * n, (1, *grid.shape)).round().astype(np.float32)
        label = np.ones((1, *grid.shape), dtype=np.uint8)
        cases[str(n)] = take_facts(Volume(voxels, grid), Volume(label, grid), LABELS)
        inside.append(voxels)
    fingerprint = Fingerprint(cases=cases)
    for share in (0.005, 0.1, 0.4, 0.6, 0.9, 0.995):
        expected = np.quantile(np.stack(inside), share)
        assert fingerprint.foreground_quantile(0, share) == pytest.approx(expected, abs=6)


@given(st.floats(-1e6, 1e6), st.sampled_from(SHARES))
def test_a_constant_has_itself_as_every_quantile(value, share):
    grid = Grid((3, 3, 3), np.eye(4))
    voxels = np.full((1, 3, 3, 3), value, dtype=np.float32)
    facts = take_facts(Volume(voxels, grid), Volume(voxels * 0 + 1, grid), LABELS)
    fingerprint = Fingerprint(cases={"a": facts})
    assert fingerprint.foreground_quantile(0, share) == pytest.approx(np.float32(value))
    assert fingerprint.foreground_moments(0) == (pytest.approx(np.float32(value)), 0.0)


def test_a_case_worked_out_by_hand():
    affine = np.diag([-2.0, 1.0, 5.0, 1.0])  # grows to the left, and is told as if to the right
    image = Volume(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4), Grid((2, 3, 4), affine))
    label = np.zeros((1, 2, 3, 4), dtype=np.uint8)
    label[0, 0, 0, :3] = 1
    label[0, 1, 2, 3] = 9  # an ignored voxel is no foreground
    facts = take_facts(image, image.with_voxels(label), LABELS)
    (channel,) = facts.channels
    assert (facts.shape, facts.spacing) == ((2, 3, 4), (2, 1, 5))
    assert facts.volumes_ml == pytest.approx({"one": 0.03, "two": 0.0})
    assert (channel.count, channel.mean) == (3, 1.0)
    assert channel.sd == pytest.approx(np.sqrt(2 / 3))
    assert (channel.image[0], channel.image[-1]) == (0, 23)
    assert (channel.foreground[0], channel.foreground[-1]) == (0, 2)


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from(["LPS", "SAR", "PIL"]))
def test_how_the_axes_of_a_file_run_does_not_matter(seed, orientation):
    image, label, _ = labelled_case(np.random.default_rng(seed))
    turned = take_facts(image.reoriented(orientation), label.reoriented(orientation), LABELS)
    facts = take_facts(image, label, LABELS)
    assert turned.shape == facts.shape
    assert turned.spacing == pytest.approx(facts.spacing)
    assert turned.volumes_ml == pytest.approx(facts.volumes_ml)
    assert turned.channels[0].image == facts.channels[0].image
    assert turned.channels[0].mean == pytest.approx(facts.channels[0].mean)


def test_a_set_without_a_labelled_voxel_has_nothing_to_learn_from():
    image, label, _ = labelled_case(np.random.default_rng(0))
    facts = take_facts(image, label.with_voxels(label.voxels * 0), LABELS)
    assert facts.channels[0].foreground == ()
    with pytest.raises(DatasetError, match="labelled voxel"):
        Fingerprint(cases={"a": facts}).foreground_moments(0)


def test_cases_without_labels_do_not_count_among_others():
    labelled, voxels = seen([1])
    image, label, _ = labelled_case(np.random.default_rng(2))
    empty = take_facts(image, label.with_voxels(label.voxels * 0), LABELS)
    both = labelled.merged(Fingerprint(cases={"empty": empty}))
    assert both.foreground_moments(0)[0] == pytest.approx(voxels.astype(float).mean())


def test_the_range_of_images_is_that_of_the_widest_cases():
    fingerprint, _ = seen([1, 2, 3])
    low, high = fingerprint.image_range(0)
    quantiles = [case.channels[0].image for case in fingerprint.cases.values()]
    assert low == min(q[SHARES.index(0.005)] for q in quantiles)
    assert high == max(q[SHARES.index(0.995)] for q in quantiles)


def test_numbered_cases_name_no_patient_and_keep_their_facts():
    fingerprint, _ = seen([5, 3])
    numbered = fingerprint.numbered()
    assert list(numbered.cases) == ["00001", "00002"]
    assert list(numbered.cases.values()) == list(fingerprint.cases.values())


def test_a_fingerprint_comes_back_from_json():
    fingerprint, _ = seen([5, 3], channels=2)
    assert Fingerprint.model_validate_json(to_json(fingerprint)) == fingerprint
    assert build(Fingerprint, fingerprint.model_dump(mode="json"), at="f") == fingerprint
