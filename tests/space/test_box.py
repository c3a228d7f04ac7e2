"""A box holds exactly the voxels it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from volunet.errors import ShapeError
from volunet.space.box import Box

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=3, max_side=7))


@given(masks, st.integers(0, 3))
def test_a_box_around_a_mask_agrees_with_scipy_and_its_margin_stays_inside(mask, margin):
    box = Box.around(mask, margin)
    if not mask.any():
        assert box is None
        return
    (tight,) = ndimage.find_objects(mask.astype(int))
    assert box.start == tuple(max(s.start - margin, 0) for s in tight)
    assert box.stop == tuple(
        min(s.stop + margin, n) for s, n in zip(tight, mask.shape, strict=True)
    )
    assert mask[box.index].sum() == mask.sum()


@given(masks)
def test_the_whole_box_changes_nothing(mask):
    box = Box.whole(mask.shape)
    assert box.shape == mask.shape
    np.testing.assert_array_equal(mask[box.index], mask)


def test_a_box_indexes_the_last_axes():
    image = np.arange(2 * 4 * 5).reshape(2, 4, 5)
    box = Box((1, 2), (3, 5))
    np.testing.assert_array_equal(image[box.index], image[:, 1:3, 2:5])
    assert box.shape == (2, 3)


@pytest.mark.parametrize("stop", [(3, 2), (1, 5)])
def test_a_box_without_voxels_is_refused(stop):
    with pytest.raises(ShapeError, match="at least one voxel"):
        Box((2, 2), stop)
