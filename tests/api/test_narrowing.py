"""A region of interest that is given as a file."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.inference.less import CT, CT_SET, LESS, Bright, ct, plan_of, segmenter
from volunet.api.narrowing import narrow
from volunet.errors import ConfigError
from volunet.findings import Refused
from volunet.io.read import read


def marked(path: Path, affine: np.ndarray | None, value: int = 255, side: int = 4) -> list[str]:
    voxels = np.zeros((60, 60, 60), dtype=np.uint8)
    voxels[5 : 5 + side, 45:47, 45:47] = value
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return [str(path)]


def model():
    return segmenter(plan_of(CT), CT_SET, LESS, Bright(300.0))


def told(segment) -> list[str]:
    return [found.code for found in segment(ct()).findings]


def test_a_place_that_its_file_does_not_tell_is_refused(tmp_path):
    roi = marked(tmp_path / "roi.nii.gz", None)
    with pytest.raises(ConfigError, match=r"GEO-NOFORM: The region .* Set the sform"):
        narrow(model(), roi=roi)
    with pytest.raises(Refused, match="GEO-NOFORM"):
        model().only(read(roi[0]))
    assert "GEO-NOFORM" in told(narrow(model(), roi=roi, accept=["GEO-NOFORM"]))


def test_what_is_found_about_the_mask_is_told_for_the_scan(tmp_path):
    usual = told(model())
    sound = narrow(model(), roi=marked(tmp_path / "a.nii.gz", ct().grid.affine))
    assert told(sound) == usual
    tiny = narrow(model(), roi=marked(tmp_path / "b.nii.gz", ct().grid.affine, value=1, side=1))
    assert sorted(told(tiny)) == sorted([*usual, "LBL-TINY"])


def test_a_mask_that_cannot_be_read_is_a_mistake_of_what_was_asked_for(tmp_path):
    roi = marked(tmp_path / "roi.nii.gz", ct().grid.affine)
    whole = Path(roi[0]).read_bytes()
    Path(roi[0]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"roi\.nii\.gz cannot be used .* IO-TRUNC"):
        narrow(model(), roi=roi)


def test_a_mask_that_is_not_there_is_not_taken_for_a_structure(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.nii\.gz is not there"):
        narrow(model(), roi=[str(tmp_path / "gone.nii.gz")])
