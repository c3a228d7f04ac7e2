"""A volume keeps every voxel where it is in the patient, whatever is done to it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Orientation
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from tests.strategies import orientations, volumes
from volunet.errors import ShapeError
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.volume import Volume


@given(volumes(), orientations)
def test_reorienting_there_and_back_changes_nothing(volume, orientation):
    back = volume.reoriented(orientation).reoriented(volume.grid.orientation)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.grid.matches(volume.grid)


@given(volumes(), orientations)
def test_reorienting_agrees_with_nibabel(volume, orientation):
    image = nib.Nifti1Image(np.moveaxis(volume.voxels, 0, -1).astype("f4"), volume.grid.affine)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(orientation)))
    ours, theirs = volume.reoriented(orientation), image.as_reoriented(turn)
    np.testing.assert_array_equal(ours.voxels, np.moveaxis(theirs.get_fdata(), -1, 0))
    np.testing.assert_allclose(ours.grid.affine, theirs.affine, atol=1e-9)
    assert ours.grid.orientation == orientation


@given(volumes(), orientations)
def test_reorienting_agrees_with_monai(volume, orientation):
    image = MetaTensor(torch.from_numpy(volume.voxels.copy()), affine=volume.grid.affine.copy())
    theirs = Orientation(axcodes=orientation, labels=(("L", "R"), ("P", "A"), ("I", "S")))(image)
    ours = volume.reoriented(orientation)
    np.testing.assert_array_equal(ours.voxels, theirs.numpy())
    np.testing.assert_allclose(ours.grid.affine, theirs.affine.numpy(), atol=1e-9)


@given(volumes(), st.data())
def test_a_cropped_voxel_stays_in_its_place(volume, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in volume.grid.shape)
    cropped = volume.crop(Box(start, volume.grid.shape))
    np.testing.assert_allclose(cropped.grid.to_world((0, 0, 0)), volume.grid.to_world(start))
    np.testing.assert_array_equal(cropped.voxels[:, 0, 0, 0], volume.voxels[:, *start])


@given(volumes(), orientations)
def test_turning_and_cropping_copy_no_voxel(volume, orientation):
    assert np.shares_memory(volume.reoriented(orientation).voxels, volume.voxels)
    assert np.shares_memory(volume.crop(Box.whole(volume.grid.shape)).voxels, volume.voxels)


@pytest.mark.parametrize("start", [-1, -2, 3])
def test_a_crop_past_an_edge_is_refused_rather_than_taken_from_the_other_side(start):
    volume = Volume(np.arange(4.0).reshape(1, 4, 1, 1), Grid((4, 1, 1), np.eye(4)))
    with pytest.raises(ShapeError, match="reaches outside"):
        volume.crop(Box((start, 0, 0), (start + 2 if start > 0 else start + 1, 1, 1)))


def test_other_voxels_on_the_same_grid_may_have_other_channels_and_types():
    volume = Volume(np.zeros((2, 3, 4, 5), dtype="f4"), Grid((3, 4, 5), np.eye(4)))
    labels = volume.with_voxels(np.ones((1, 3, 4, 5), dtype="u1"))
    assert (labels.channels, labels.grid) == (1, volume.grid)
    assert repr(labels) == "Volume(1 x uint8, Grid(3 x 4 x 5, 1 x 1 x 1 mm, RAS))"


def test_voxels_without_a_channel_axis_are_refused_with_advice():
    with pytest.raises(ShapeError, match=r"voxels\[None\]"):
        Volume(np.zeros((4, 5, 6)), Grid((4, 5, 6), np.eye(4)))


def test_voxels_that_do_not_fill_their_grid_are_refused():
    with pytest.raises(ShapeError, match=r"\(4, 5, 6\).*\(1, 4, 5, 7\)"):
        Volume(np.zeros((1, 4, 5, 7)), Grid((4, 5, 6), np.eye(4)))
