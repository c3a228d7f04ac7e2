"""Patches lie where they were drawn, and structures are seen as often as was asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volunet.data.foreground import sample_foreground
from volunet.data.sampler import Draw, cut_patches, draw_patches

sides = st.tuples(*[st.integers(1, 9)] * 3)
rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@dataclass(frozen=True)
class Prepared:
    """A case in memory."""

    case_id: str
    image: np.ndarray
    label: np.ndarray
    foreground: dict[int, np.ndarray]
    drawn: np.ndarray | None = None


def case(shape=(10, 11, 12), labelled=(), *, channels: int = 1, name: str = "a") -> Prepared:
    """An image in which every voxel tells its place; `labelled` gives (class, voxel) pairs."""
    image = np.arange(1.0, channels * prod(shape) + 1, dtype=np.float32).reshape(channels, *shape)
    label = np.zeros(shape, dtype=np.uint8)
    for kind, voxel in labelled:
        label[voxel] = kind
    found = sample_foreground(label, 3, np.random.default_rng(0))
    return Prepared(name, image, label, found)


def padded(array: np.ndarray, start, size) -> np.ndarray:
    """A patch looked up voxel by voxel in an array with zeros all round."""
    margin = [(20, 20)] * 3
    wide = np.pad(array, [(0, 0)] * (array.ndim - 3) + margin)
    i, j, k = (s + 20 for s in start)
    return wide[..., i : i + size[0], j : j + size[1], k : k + size[2]]


@given(sides, sides, st.tuples(*[st.integers(-9, 9)] * 3))
def test_a_patch_is_the_image_where_it_was_drawn_and_nothing_around_it(shape, size, start):
    start = tuple(max(min(s, n - 1), 1 - p) for s, n, p in zip(start, shape, size, strict=True))
    one = case(shape, [(2, (0, 0, 0))], channels=2)
    batch = cut_patches([one], [Draw(0, start)], size)
    assert batch.image.shape == (1, 2, *size)
    assert (batch.image.dtype, batch.label.dtype) == (torch.float32, torch.int64)
    np.testing.assert_array_equal(batch.image[0], padded(one.image, start, size))
    np.testing.assert_array_equal(batch.label[0], padded(one.label, start, size))


@given(sides, sides, st.floats(0, 1), rngs)
def test_a_patch_stays_in_the_volume_or_the_volume_in_the_patch(shape, size, share, rng):
    middle = tuple(n // 2 for n in shape)
    draws = draw_patches([case(shape, [(1, middle)])], size, 8, foreground_share=share, rng=rng)
    for draw in draws:
        for start, n, side in zip(draw.start, shape, size, strict=True):
            assert (0 <= start <= n - side) if n >= side else (n - side <= start <= 0)


@given(sides, sides, rngs)
def test_a_patch_on_a_structure_holds_a_voxel_of_it(shape, size, rng):
    voxel = tuple(int(rng.integers(n)) for n in shape)
    one = case(shape, [(2, voxel)])
    draws = draw_patches([one], size, 4, foreground_share=1.0, rng=rng)
    assert (cut_patches([one], draws, size).label == 2).any(dim=(1, 2, 3)).all()


@given(sides, sides, st.tuples(*[st.integers(0, 3)] * 3), rngs)
def test_a_wider_cut_has_the_patch_in_its_middle(shape, size, margin, rng):
    one = case(shape, [(1, (0, 0, 0))])
    draws = draw_patches([one], size, 3, foreground_share=0.5, rng=rng)
    source = tuple(n + 2 * m for n, m in zip(size, margin, strict=True))
    wide, plain = cut_patches([one], draws, size, source=source), cut_patches([one], draws, size)
    assert wide.image.shape[2:] == source
    inner = tuple(slice(m, m + n) for m, n in zip(margin, size, strict=True))
    assert torch.equal(wide.image[:, :, *inner], plain.image)
    assert torch.equal(wide.label[:, *inner], plain.label)


def test_every_voxel_of_a_volume_is_seen_up_to_its_rim():
    one, rng = case((8, 7, 9)), np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        draws = draw_patches([one], (4, 4, 4), 2, foreground_share=0.5, rng=rng)
        wide = cut_patches([one], draws, (4, 4, 4), source=(6, 6, 6))
        seen |= set(wide.image[:, :, 1:5, 1:5, 1:5].flatten().tolist())
    assert seen == set(one.image.ravel().tolist())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_share_of_patches_on_structures_is_what_was_asked(share):
    one, rng = case((40, 40, 40), [(1, (20, 20, 20))]), np.random.default_rng(0)
    centred, number = 0, 2000
    for _ in range(number // 2):
        draws = draw_patches([one], (5, 5, 5), 2, foreground_share=share, rng=rng)
        centred += sum(draw.start == (18, 18, 18) for draw in draws)
    assert centred / number == pytest.approx(share, abs=0.03)


def test_every_batch_has_its_part_of_structures_and_they_come_first():
    one, rng = case((40, 40, 40), [(1, (20, 20, 20))]), np.random.default_rng(0)
    for _ in range(50):
        draws = draw_patches([one], (5, 5, 5), 4, foreground_share=0.5, rng=rng)
        assert [draw.start == (18, 18, 18) for draw in draws] == [True, True, False, False]


def test_small_structures_are_centred_on_as_often_as_large_ones():
    large = [(1, (i, j, k)) for i in range(10) for j in range(10) for k in range(5)]
    one = case((30, 30, 30), [*large, (2, (25, 25, 25))])
    rng = np.random.default_rng(0)
    draws = draw_patches([one], (3, 3, 3), 4000, foreground_share=1.0, rng=rng)
    on_small = sum(draw.start == (24, 24, 24) for draw in draws)
    assert on_small / 4000 == pytest.approx(0.5, abs=0.03)


def test_cases_are_drawn_equally_often_and_named():
    cases = [case(name=name) for name in "abc"]
    rng = np.random.default_rng(0)
    draws = draw_patches(cases, (4, 4, 4), 3000, foreground_share=0.5, rng=rng)
    drawn = Counter(cut_patches(cases, draws, (4, 4, 4)).case_ids)
    assert set(drawn) == {"a", "b", "c"}
    assert min(drawn.values()) > 900


def test_patches_anywhere_are_spread_evenly():
    rng = np.random.default_rng(0)
    draws = draw_patches([case((8, 8, 8))], (4, 4, 4), 5000, foreground_share=0.0, rng=rng)
    counted = np.array([np.bincount([d.start[a] for d in draws], minlength=5) for a in range(3)])
    assert counted.shape == (3, 5)
    assert np.abs(counted / 1000 - 1).max() < 0.12


def test_a_case_without_structures_is_seen_anywhere():
    rng = np.random.default_rng(0)
    draws = draw_patches([case((8, 8, 8))], (4, 4, 4), 200, foreground_share=1.0, rng=rng)
    assert len({draw.start for draw in draws}) > 50


def test_the_ignored_class_is_no_structure():
    label = np.full((6, 6, 6), 3, dtype=np.uint8)
    label[1, 2, 3] = 1
    assert list(sample_foreground(label, 3, np.random.default_rng(0))) == [1]


def test_the_same_seed_gives_the_same_draws():
    cases = [case((20, 20, 20), [(1, (3, 3, 3)), (2, (9, 9, 9))], name=name) for name in "ab"]

    def drawn(seed: int) -> list[Draw]:
        rng = np.random.default_rng(seed)
        return draw_patches(cases, (4, 5, 6), 20, foreground_share=0.5, rng=rng)

    assert drawn(1) == drawn(1) != drawn(2)


def test_cutting_leaves_the_case_alone():
    one = case((5, 5, 5))
    one.image.setflags(write=False)
    one.label.setflags(write=False)
    batch = cut_patches([one], [Draw(0, (0, 0, 0))], (5, 5, 5))
    batch.image.add_(1)
    assert one.image[0, 0, 0, 0] == 1


def estimated(shape, *, channels: int = 2) -> Prepared:
    """A case whose targets are its image."""
    image = case(shape, channels=channels).image
    return Prepared("a", image, image.copy(), {})


def check_targets(batch, *, mirrored: bool = False):
    """They are the image, and no numbers where there is none."""
    known = batch.label.isfinite()
    assert torch.equal(batch.label[known], batch.image[known])
    assert (batch.image[~known] == 0).all()
    assert known.any()
    assert known.all() or not mirrored


starts = st.tuples(*[st.integers(-9, 9)] * 3)


@given(sides, sides, starts, st.tuples(*[st.integers(0, 3)] * 3), st.booleans())
def test_targets_are_cut_as_their_images_are(shape, size, start, margin, mirrored):
    """In the volume and past its borders, on 0 or on mirrored voxels."""
    start = tuple(max(min(s, n - 1), 1 - p) for s, n, p in zip(start, shape, size, strict=True))
    source = tuple(n + 2 * m for n, m in zip(size, margin, strict=True))
    one = estimated(shape)
    batch = cut_patches([one], [Draw(0, start)], size, source=source, mirrored=mirrored)
    assert (batch.label.dtype, batch.label.shape) == (torch.float32, (1, 2, *source))
    check_targets(batch, mirrored=mirrored)
    inner = tuple(slice(m, m + n) for m, n in zip(margin, size, strict=True))
    if not mirrored:
        seen = batch.label[0, :, *inner].nan_to_num()
        np.testing.assert_array_equal(seen, padded(one.label, start, size))


@given(sides, sides, st.floats(0, 1), rngs)
def test_cases_with_targets_are_seen_anywhere(shape, size, share, rng):
    cases = [estimated(shape), estimated(tuple(reversed(shape)))]
    draws = draw_patches(cases, size, 3, foreground_share=share, rng=rng)
    batch = cut_patches(cases, draws, size)
    check_targets(batch)
    assert batch.drawn is None


def test_targets_may_be_fewer_or_more_than_channels():
    image = np.zeros((1, 6, 6, 6), dtype=np.float32)
    label = np.stack([np.full((6, 6, 6), n + 0.5, dtype=np.float32) for n in range(3)])
    batch = cut_patches([Prepared("a", image, label, {})], [Draw(0, (1, 1, 1))] * 2, (4, 4, 4))
    assert batch.image.shape == (2, 1, 4, 4, 4)
    assert batch.label.shape == (2, 3, 4, 4, 4)
    assert [float(t) for t in batch.label.mean(dim=(0, 2, 3, 4))] == [0.5, 1.5, 2.5]
