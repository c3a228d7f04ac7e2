"""The same image in two files is found on both sides of a split, and nothing else is."""

from dataclasses import replace

import numpy as np

from tests.training.tiny import ball
from volunet.data.twins import find_twins


def test_the_same_voxels_under_another_name_are_a_leak():
    train, held_out = [ball(0), ball(1)], [ball(2), replace(ball(1), case_id="again")]
    (found,) = find_twins(train, held_out)
    assert (found.code, found.case) == ("SET-LEAK", "again")
    assert found.refuses
    assert "'ball_1'" in found.message
    assert find_twins(train, held_out[:1]) == []
    sums = {"ball_1": "a", "again": "a"}  # equal files, which were told before
    assert find_twins(train, held_out, sums) == []
    assert len(find_twins(train, held_out, sums | {"again": "b"})) == 1


def test_images_that_differ_in_one_voxel_that_is_not_looked_at_first_are_two():
    other = ball(0)
    changed = other.image.copy()
    changed[0, 3, 5, 7] += 1
    assert find_twins([ball(0)], [replace(other, image=changed)]) == []


def test_images_of_nothing_tell_nothing():
    empty = replace(ball(0), image=np.zeros((1, 8, 8, 8), dtype=np.float32))
    assert find_twins([empty], [replace(empty, case_id="other")]) == []
