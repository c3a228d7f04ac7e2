"""The path of a volume: read, judge, aim, prepare, cut, look, blend, return, tidy, keep.

A scan goes in as a file and its labels come out as a file, on the scan's own grid, however it lies.
"""

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from torch import nn

import volunet as vn
from volunet.findings import Refused
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.segmenter import Segmenter
from volunet.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.space.labels import Labels

QUANTILES = tuple(float(q) for q in np.linspace(-200, 600, 19))


class Threshold(nn.Module):
    """Calls bright what is above 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((-x, x), dim=1)


def segmenter(patch=(24, 24, 24), name="ball") -> Segmenter:
    """Finds what is above 200 in a scan from -200 to 600; its structure has the value 205."""
    plan = Plan(
        channels=("CT",),
        labels=Labels(structures={name: 205}),
        spacing=(1.5, 1.5, 1.5),
        patch=patch,
        intensities=(Intensity(scheme="set", low=-200, high=600, mean=200, sd=400),),
        features=(4, 8),
        strides=((2, 2, 2),),
        kernels=((3, 3, 3), (3, 3, 3)),
        batch=1,
    )
    channel = ChannelFacts(image=QUANTILES, foreground=QUANTILES, count=1, mean=200, sd=400)
    facts = CaseFacts(
        shape=(48, 50, 20), spacing=(1.2, 1.2, 2.2), channels=(channel,), volumes_ml={name: 7.2}
    )
    engine = TorchEngine(Threshold(), device="cpu")
    return Segmenter(
        (engine,), plan, Fingerprint(cases={"1": facts}), "threshold", Effort(overlap=plan.overlap)
    )


def tilted_scan(orientation: str) -> tuple[vn.Volume, np.ndarray]:
    """A ball of 12 mm radius in a tilted, anisotropic scan, and where it is."""
    angle = np.deg2rad(15)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.2, 2.5])
    grid = vn.Grid((48, 50, 20), affine).reoriented(orientation)
    world = grid.to_world(np.stack(np.indices(grid.shape), axis=-1))
    centre = grid.to_world((np.array(grid.shape) - 1) / 2)
    truth = np.linalg.norm(world - centre, axis=-1) < 12
    return vn.Volume(np.where(truth, 600.0, -200.0)[None].astype("f4"), grid), truth


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SAR"])
def test_labels_lie_where_the_ball_is(orientation, tmp_path):
    scan, truth = tilted_scan(orientation)
    vn.write(scan, tmp_path / "scan.nii.gz")
    result = segmenter()(vn.read(tmp_path / "scan.nii.gz"))
    vn.write(result.labels, tmp_path / "mask.nii.gz")
    image, mask = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert mask.get_data_dtype() == np.uint8
    found = np.asarray(mask.dataobj) == 205
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 205}
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97


def test_a_scan_smaller_than_a_patch_is_segmented_too():
    scan = vn.Volume(np.full((1, 4, 5, 2), 600, "f4"), vn.Grid((4, 5, 2), np.eye(4)))
    assert (segmenter()(scan).labels.voxels == 205).all()


def test_a_scan_with_other_channels_is_refused():
    scan = vn.Volume(np.zeros((2, 8, 8, 8), "f4"), vn.Grid((8, 8, 8), np.eye(4)))
    with pytest.raises(Refused, match="MDL-CHANNELS"):
        segmenter()(scan)


def test_a_scan_unlike_the_training_set_is_told():
    affine = np.diag([9.0, 9.0, 9.0, 1.0])
    scan = vn.Volume(np.zeros((1, 8, 8, 8), "f4"), vn.Grid((8, 8, 8), affine))
    codes = {found.code for found in segmenter()(scan).findings}
    assert {"OOD-SPACING", "OOD-INTENSITY"} <= codes


def test_left_is_not_told_in_a_scan_whose_file_does_not_say_where_it_is(tmp_path):
    path = tmp_path / "scan.nii.gz"
    image = nib.Nifti1Image(np.full((8, 8, 8), 600, "f4"), None)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    scan, kidney = vn.read(path), segmenter(name="kidney_left")
    for guessed in (scan, scan.reoriented("RAS"), scan.with_voxels(scan.voxels + 1)):
        with pytest.raises(Refused, match=r"GEO-NOFORM.* tell left from right"):
            kidney(guessed)
    waived = next(f for f in kidney(scan, accept=["GEO-NOFORM"]).findings if f.accepted)
    assert waived.code == "GEO-NOFORM"
    assert kidney(vn.read(path, accept=["GEO-NOFORM"])).labels.voxels.all()
    assert segmenter()(scan).labels.voxels.all()


def test_the_mask_does_not_depend_on_how_the_axes_run():
    scan, _ = tilted_scan("RAS")
    expected = segmenter()(scan).labels.reoriented("RAS")
    for orientation in ("LAS", "PIR", "SLA", "IPL", "ASR", "RSP"):
        turned = segmenter()(scan.reoriented(orientation)).labels
        assert turned.grid.orientation == orientation
        np.testing.assert_array_equal(turned.reoriented("RAS").voxels, expected.voxels)


def test_turning_a_volume_agrees_with_nibabel():
    scan, _ = tilted_scan("RAS")
    image = nib.Nifti1Image(scan.voxels[0], scan.grid.affine)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(("P", "I", "R")))
    np.testing.assert_array_equal(
        scan.reoriented("PIR").voxels[0], np.asarray(image.as_reoriented(turn).dataobj)
    )
