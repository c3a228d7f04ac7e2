"""Stray parts go and holes are filled, as worked by hand, and as scipy and MONAI say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.transforms import FillHoles
from scipy import ndimage

from volunet.config import build, to_json
from volunet.errors import ConfigError, LabelError
from volunet.inference.postprocess import Steps, Tidied, Tidy, tidy_labels
from volunet.space.labels import Labels

LABELS = Labels(structures={"liver": 1, "spleen": 2, "tumour": 5})
HOLES, LARGEST = Steps(holes=True), Steps(largest=True)
maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.integers(0, 3)
)
steps = st.builds(Steps, largest=st.booleans(), dust_ml=st.integers(0, 5), holes=st.booleans())


def tidied(drawn: object, voxel_ml: float = 1.0, **structures: Steps) -> np.ndarray:
    """A map (I, J, K), or one plane of it, after tidying."""
    index = np.array(drawn, dtype=np.uint8)
    tidy_labels(
        index[None] if index.ndim == 2 else index,
        Tidy(structures=structures),
        LABELS,
        voxel_ml=voxel_ml,
    )
    return index


def shell(size: int, value: int = 1) -> np.ndarray:
    """A hollow cube of this side with a margin of 1, one voxel thick."""
    cube = np.zeros((size + 2,) * 3, dtype=np.uint8)
    cube[1:-1, 1:-1, 1:-1] = value
    cube[2:-2, 2:-2, 2:-2] = 0
    return cube


def test_the_largest_part_is_kept_and_the_others_become_background():
    drawn = [[1, 1, 0, 1], [0, 1, 0, 1], [2, 0, 1, 2]]
    assert tidied(drawn, liver=LARGEST).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [2, 0, 0, 2]]


def test_of_parts_of_one_size_the_first_is_kept():
    assert tidied([[1, 0, 1]], liver=LARGEST).tolist() == [[1, 0, 0]]


def test_parts_below_a_volume_are_removed_and_those_of_just_that_volume_stay():
    drawn = [[1, 1, 1, 0, 1, 1, 0, 1]]
    assert tidied(drawn, 0.1, liver=Steps(dust_ml=0.2)).tolist() == [[1, 1, 1, 0, 1, 1, 0, 0]]
    assert tidied(drawn, 0.1, liver=Steps(dust_ml=0.3)).tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]


def test_a_structure_that_is_all_dust_goes():
    assert tidied([[2, 2, 0, 1]], liver=Steps(dust_ml=2)).tolist() == [[2, 2, 0, 0]]


def test_a_hole_is_filled_and_a_bay_is_not():
    cube = shell(3)
    assert tidied(cube, liver=HOLES)[2, 2, 2] == 1
    cube[1, 2, 2] = 0
    np.testing.assert_array_equal(tidied(cube, liver=HOLES), cube)


def test_a_hole_that_is_open_at_the_border_of_the_scan_is_none():
    cube = shell(3)[2:]
    np.testing.assert_array_equal(tidied(cube, liver=HOLES), cube)


def test_a_structure_inside_another_stays_and_the_gap_between_them_is_filled():
    cube = shell(5)
    cube[3, 3, 3] = 2
    found = tidied(cube, liver=HOLES)
    assert (found[1:-1, 1:-1, 1:-1] > 0).all()
    assert np.argwhere(found == 2).tolist() == [[3, 3, 3]]


def test_a_hole_of_a_structure_inside_another_is_the_inner_ones_alone():
    nested = np.zeros((7, 7, 7), dtype=np.uint8)
    nested[1:-1, 1:-1, 1:-1] = 1
    nested[2:-2, 2:-2, 2:-2] = shell(1, 2) | 2
    nested[3, 3, 3] = 0
    assert tidied(nested, liver=HOLES)[3, 3, 3] == 0
    assert tidied(nested, liver=HOLES, spleen=HOLES)[3, 3, 3] == 2


def test_a_speck_inside_another_structure_becomes_that_structure_where_both_steps_are_asked_for():
    block = np.ones((5, 5, 9), dtype=np.uint8)
    block[2, 2, 2] = 2
    block[:, :, 7:] = 2
    assert tidied(block, spleen=LARGEST)[2, 2, 2] == 0
    assert tidied(block, spleen=LARGEST, liver=HOLES)[2, 2, 2] == 1


def test_what_was_changed_is_told():
    cube = shell(3)
    cube[0, 0, 0] = 1
    wanted = Tidy(structures={"liver": Steps(largest=True, holes=True), "tumour": LARGEST})
    told = tidy_labels(cube, wanted, LABELS, voxel_ml=1.0)
    assert told == {"liver": Tidied(removed_vox=1, filled_vox=1), "tumour": Tidied()}


def expected(index: np.ndarray, wanted: Tidy, voxel_ml: float) -> np.ndarray:
    """The same, voxel by voxel, with scipy."""
    index = index.copy()
    for number, name in enumerate(LABELS.names, start=1):
        asked = wanted.structures.get(name, Steps())
        parts, count = ndimage.label(index == number)
        sizes = np.bincount(parts.ravel())[1:]
        for part in range(count):
            is_largest = part == int(np.argmax(sizes))
            dusty = sizes[part] * voxel_ml < asked.dust_ml
            if dusty or (asked.largest and not is_largest):
                index[parts == part + 1] = 0
    for number, name in enumerate(LABELS.names, start=1):
        if wanted.structures.get(name, Steps()).holes:
            inside = ndimage.binary_fill_holes(index == number)
            pockets, count = ndimage.label(inside & (index == 0))
            beside = ndimage.binary_dilation(index == number)
            for pocket in range(1, count + 1):
                if (beside & (pockets == pocket)).any():
                    index[pockets == pocket] = number
    return index


SPECK = np.ones((3, 3, 4), dtype=np.uint8)
SPECK[1, 1, 1] = 2


@example(SPECK, {"liver": HOLES, "spleen": Steps(dust_ml=1)})  # removed, and then filled
@given(maps, st.dictionaries(st.sampled_from(LABELS.names), steps))
def test_every_map_is_tidied_as_scipy_does_it_voxel_by_voxel(index, structures):
    wanted = Tidy(structures=structures)
    found = index.copy()
    told = tidy_labels(found, wanted, LABELS, voxel_ml=0.5)
    np.testing.assert_array_equal(found, expected(index, wanted, 0.5))
    removals = {n: s.model_copy(update={"holes": False}) for n, s in structures.items()}
    between = expected(index, wanted.model_copy(update={"structures": removals}), 0.5)
    removed, filled = (np.count_nonzero(a != b) for a, b in ((index, between), (between, found)))
    assert sum(t.removed_vox for t in told.values()) == removed
    assert sum(t.filled_vox for t in told.values()) == filled


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=4, max_side=7)))
def test_holes_of_one_structure_are_those_of_monai(mask):
    theirs = FillHoles(applied_labels=[1], connectivity=1)(mask.astype(np.uint8)[None])
    np.testing.assert_array_equal(tidied(mask, liver=HOLES), np.asarray(theirs)[0])


@given(maps, st.dictionaries(st.sampled_from(LABELS.names), steps))
def test_tidying_twice_removes_nothing_more(index, structures):
    wanted = Tidy(structures=structures)
    tidy_labels(index, wanted, LABELS, voxel_ml=1.0)
    told = tidy_labels(index, wanted, LABELS, voxel_ml=1.0)
    assert sum(t.removed_vox for t in told.values()) == 0


@given(maps)
def test_nothing_asked_changes_nothing(index):
    found = index.copy()
    assert tidy_labels(found, Tidy(), LABELS, voxel_ml=1.0) == {}
    tidy_labels(found, Tidy(structures={"liver": Steps()}), LABELS, voxel_ml=1.0)
    np.testing.assert_array_equal(found, index)


def test_an_unknown_structure_is_named_with_the_known_ones():
    with pytest.raises(LabelError, match=r"kidney.*liver"):
        tidy_labels(
            np.zeros((2, 2, 2), "u1"), Tidy(structures={"kidney": HOLES}), LABELS, voxel_ml=1.0
        )


def test_tidying_is_data_and_says_what_it_does():
    wanted = Tidy(structures={"liver": Steps(largest=True, dust_ml=0.5, holes=True)})
    assert Tidy.model_validate_json(to_json(wanted)) == wanted
    assert str(wanted.structures["liver"]) == "largest part, no parts below 0.5 ml, holes filled"
    assert str(Steps()) == "nothing"
    assert wanted
    assert not Tidy(structures={"liver": Steps()})
    with pytest.raises(ConfigError, match="dust_ml"):
        build(Tidy, {"structures": {"liver": {"dust": 1}}}, at="model.json")
