from hashlib import sha256

import numpy as np
import pytest
import torch

from tests.data.on_disk import (
    META,
    SHAPE,
    pipe_at,
    touch,
    write_detached,
    write_image,
    write_label,
    write_nifti,
)
from volunet.data.cases import Case
from volunet.data.content import sum_of_file, sum_of_files, sum_of_voxels, sums_of_images
from volunet.data.read_case import findings_of, read_case, read_images
from volunet.errors import DatasetError
from volunet.findings import Refused
from volunet.space.labels import Labels


def test_channels_come_from_files_or_from_within_one(tmp_path):
    files = [write_image(tmp_path / f"a_000{n}.nii.gz") for n in range(2)]
    apart = read_images(files, channels=2).volume
    together = np.moveaxis(apart.voxels, 0, -1)
    whole = write_nifti(tmp_path / "a.nii.gz", together)
    np.testing.assert_array_equal(read_images([whole], channels=2).volume.voxels, apart.voxels)
    with pytest.raises(Refused, match="The image has 2 channels, and 3 are needed") as e:
        read_images(files, channels=3)
    assert e.value.findings[0].code == "IMG-CHANNELS"


def test_a_label_within_a_rounding_error_lies_on_the_images_grid(tmp_path):
    image = write_image(tmp_path / "i.nii.gz")
    moved = np.diag([2.0, 1.5, 3.0, 1.0])
    moved[0, 3] = 0.05
    label = write_nifti(tmp_path / "l.nii.gz", np.ones(SHAPE, np.uint8), moved)
    read = read_case(Case(case_id="a", images=(image,), label=label))
    assert read.label.grid is read.image.grid
    assert read.findings == ()


def test_a_case_without_a_label_map_cannot_be_read(tmp_path):
    with pytest.raises(DatasetError, match="'a' has no label map"):
        read_case(Case(case_id="a", images=(write_image(tmp_path / "i.nii.gz"),)))


def test_a_refusal_that_no_waiver_helps_stays_one(tmp_path):
    image = write_nifti(tmp_path / "i.nii.gz", np.full(SHAPE, np.nan, np.float32))
    case = Case(case_id="a", images=(image,), label=write_label(tmp_path / "l.nii.gz"))
    with pytest.raises(Refused, match="No voxel is a number"):
        read_case(case, accept=["IMG-NONFINITE"])


def test_what_is_no_number_in_a_structure_is_refused_however_little_it_is(tmp_path):
    voxels = np.arange(8000, dtype=np.float32).reshape(20, 20, 20)
    mask = np.zeros(voxels.shape, dtype=np.uint8)
    mask[5], mask[6], mask[7] = 1, 4, 9
    voxels[5, 0, :2] = voxels[6, 0, 0] = voxels[7, 0, 0] = voxels[0, 0, 0] = np.nan
    other = write_nifti(tmp_path / "o.nii.gz", np.nan_to_num(voxels))
    images = (other, write_nifti(tmp_path / "i.nii.gz", voxels))
    case = Case(case_id="a", images=images, label=write_nifti(tmp_path / "l.nii.gz", mask))
    labels = Labels(structures={"liver": 1, "tumour": 4}, ignore=9)
    with pytest.raises(Refused, match=r"in the image: 2 of liver, 1 of tumour\.") as e:
        read_case(case, labels=labels)
    assert [(f.code, f.refuses) for f in e.value.findings][:2] == [
        ("IMG-NONFINITE", True),
        ("IMG-NONFINITE", False),
    ]
    with pytest.raises(Refused, match=r"2 of label 1, 1 of label 4, 1 of label 9\."):
        read_case(case)
    accepted = read_case(case, labels=labels, accept=["IMG-NONFINITE"])
    assert np.isfinite(accepted.image.voxels).all()
    mask[5:8] = 0
    mask[9] = 1
    write_nifti(tmp_path / "l.nii.gz", mask)
    assert [f.severity for f in read_case(case, labels=labels).findings] == ["warn"]


def test_any_error_of_a_case_is_told_as_a_finding():
    (memory,) = findings_of(MemoryError("no"), "a")
    (other,) = findings_of(RuntimeError("odd"), "a")
    assert (memory.case, memory.code, memory.refuses) == ("a", "RUN-OOM", True)
    assert (other.code, other.message, other.refuses) == ("IO-FAULT", "RuntimeError: odd", True)


def test_sums_tell_contents_apart_and_not_names(tmp_path):
    one, two, three = (touch(tmp_path / n, c) for n, c in (("a", b"x"), ("b", b"x"), ("c", b"y")))
    assert sum_of_files([one]) == sum_of_files([two]) != sum_of_files([three])
    assert sum_of_files([one, three]) != sum_of_files([three, one])
    with pytest.raises(Refused, match="IO-MISSING"):
        sum_of_files([tmp_path / "none"])
    cases = [
        Case(case_id="1", images=(one,)),
        Case(case_id="2", images=(tmp_path / "none",)),
    ]
    assert sums_of_images(cases) == {"1": sum_of_files([one])}


def test_the_voxels_beside_a_header_count_as_its_file_does(tmp_path):
    header = write_detached(tmp_path / "a.mhd")
    before = sum_of_files([header])
    touch(tmp_path / "a.raw", b"\1" * 24)
    assert sum_of_files([header]) != before
    (tmp_path / "a.raw").unlink()
    with pytest.raises(Refused, match=r"IO-MISSING: 'a\.raw'"):
        sum_of_files([header])
    named_as_nothing = header.rename(tmp_path / "scan")
    touch(tmp_path / "a.raw", bytes(24))
    assert sum_of_files([named_as_nothing]) == before


def test_only_a_file_beside_the_header_counts(tmp_path):
    header = touch(tmp_path / "in" / "a.mhd", META.replace(b"a.raw", b"../a.raw"))
    attached = touch(tmp_path / "b.mha", META.replace(b"a.raw", b"LOCAL") + bytes(24))
    for path in (header, attached):
        assert sum_of_files([path]) == sha256(sha256(path.read_bytes()).digest()).hexdigest()
        assert sum_of_file(path) == sha256(path.read_bytes()).hexdigest()


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    for content in (META, META.replace(b"a.raw", b"p.nii")):  # itself, or voxels that are a pipe
        header = touch(tmp_path / f"{len(content)}.mhd", content)
        with pipe_at(tmp_path / "p.nii") as pipe:
            one = Case(case_id="1", images=(pipe if content is META else header,))
            with pytest.raises(Refused, match=r"IO-FORMAT: 'p\.nii' is a device or a pipe"):
                sum_of_files(one.images)
            assert sums_of_images([one]) == {}
        pipe.unlink()
    with pytest.raises(Refused, match=r"IO-FORMAT: .* is a folder, not a scan"):
        sum_of_files([tmp_path])


@pytest.mark.parametrize("name", [b"", b"..", b"a\0b"])
def test_a_header_that_names_no_file_for_its_voxels_is_a_file_of_its_own(tmp_path, name):
    header = touch(tmp_path / "a.mhd", META.replace(b"a.raw", name))
    assert sum_of_files([header]) == sha256(sha256(header.read_bytes()).digest()).hexdigest()
    with pytest.raises(Refused, match="IO-FORMAT: The voxels must lie in a file beside"):
        read_images([header])


def test_voxels_are_summed_whatever_their_order_in_memory():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert sum_of_voxels(voxels) == sum_of_voxels(np.asfortranarray(voxels))
    assert sum_of_voxels(voxels) != sum_of_voxels(voxels.astype(np.float32))
    assert sum_of_voxels(voxels) != sum_of_voxels(voxels.reshape(3, 2, 4))
    assert sum_of_voxels(voxels) != sum_of_voxels(voxels + 1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "RUN-OOM"),
        (torch.OutOfMemoryError("CUDA out of memory"), "RUN-OOM"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "RUN-OOM"),
        (OSError("stale"), "IO-FAULT"),
    ],
)
def test_want_of_memory_is_not_told_as_a_file_that_cannot_be_read(error, code):
    assert [f.code for f in findings_of(error, "a")] == [code]
