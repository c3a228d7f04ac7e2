"""Parts of a mask are numbered by size, and touch by a face."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from volunet.space.components import label_components

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))


@given(masks)
def test_parts_are_those_of_scipy_numbered_by_size(mask):
    parts, sizes = label_components(mask)
    theirs, count = ndimage.label(mask)
    assert len(sizes) == count
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_array_equal(np.bincount(parts.ravel(), minlength=count + 1)[1:], sizes)
    pairs = {(int(a), int(b)) for a, b in zip(parts.ravel(), theirs.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    np.testing.assert_array_equal(parts > 0, mask)


def flooded(mask: np.ndarray, seed: tuple[int, ...]) -> set[tuple[int, ...]]:
    """The voxels that can be walked to from a voxel, face by face."""
    seen, due = {seed}, [seed]
    while due:
        at = due.pop()
        for axis, step in product(range(mask.ndim), (-1, 1)):
            near = (*at[:axis], at[axis] + step, *at[axis + 1 :])
            inside = all(0 <= n < length for n, length in zip(near, mask.shape, strict=True))
            if inside and mask[near] and near not in seen:
                seen.add(near)
                due.append(near)
    return seen


@given(masks)
def test_the_largest_part_is_the_largest_walk_through_the_mask(mask):
    walks = [flooded(mask, tuple(at)) for at in np.argwhere(mask).tolist()]
    kept = {tuple(at) for at in np.argwhere(label_components(mask)[0] == 1).tolist()}
    assert len(kept) == max(map(len, walks), default=0)
    assert kept in walks or not walks


def test_parts_that_meet_at_an_edge_are_two():
    mask = np.zeros((2, 2, 3), dtype="u1")
    mask[0, 0, :] = 205
    mask[1, 1, 0] = 7
    parts, sizes = label_components(mask)
    assert sizes.tolist() == [3, 1]
    assert parts[1, 1, 0] == 2


def test_an_empty_mask_has_no_parts():
    parts, sizes = label_components(np.zeros((2, 3, 4)))
    assert (parts.max(), sizes.size) == (0, 0)
