"""Label maps: values stay what they are, in the smallest type, or the map is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.faults.corpus import gz, keep, raw_of, setting
from tests.faults.labels import DECLARED, mask
from tests.io.scans import volume_of
from volunet.findings import Refused
from volunet.io.masks import label_counts
from volunet.io.read import read_mask
from volunet.io.write import write
from volunet.space.labels import Labels


def kept(folder: Path, voxels: Any, **fields: Any) -> Path:
    return keep(folder, "mask.nii.gz", gz(raw_of(voxels, setting(**fields))))


def test_gaps_between_values_stay(tmp_path: Path) -> None:
    reading = read_mask(kept(tmp_path, mask(1, 2, 4, dtype="int16")), DECLARED)
    assert reading.volume.voxels.dtype == np.uint8
    np.testing.assert_array_equal(reading.volume.voxels[0], mask(1, 2, 4))


def test_without_declared_labels_any_whole_number_will_do(tmp_path: Path) -> None:
    voxels = read_mask(kept(tmp_path, mask(7, 300, dtype="float32"))).volume.voxels
    assert voxels.dtype == np.uint16
    assert np.unique(voxels).tolist() == [0, 7, 300]


def test_the_type_holds_every_declared_value_even_where_absent(tmp_path: Path) -> None:
    labels = Labels(structures={"a": 1, "far": 70000})
    assert read_mask(kept(tmp_path, mask(1)), labels).volume.voxels.dtype == np.uint32


def test_the_ignore_value_may_occur(tmp_path: Path) -> None:
    labels = Labels(structures={"a": 1}, ignore=255)
    voxels = read_mask(kept(tmp_path, mask(1, 255)), labels).volume.voxels
    assert np.unique(voxels).tolist() == [0, 1, 255]


def test_values_near_whole_ones_are_rounded_and_that_is_told(tmp_path: Path) -> None:
    path = kept(tmp_path, mask(1, 2, 4, dtype="int16"), scl_slope=1.0000001)
    reading = read_mask(path, DECLARED)
    assert [found.code for found in reading.findings] == ["LBL-ROUNDED"]
    np.testing.assert_array_equal(reading.volume.voxels[0], mask(1, 2, 4))


def test_fractions_are_told_with_their_counts(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"0\.5 \(20 voxels\), 1\.25 \(20 voxels\)"):
        read_mask(kept(tmp_path, mask(0.5, 1.25, 2, dtype="float32")))


def test_unknown_values_are_told_with_what_to_declare(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r'3 \(20 voxels\).*declare.*"label_3": 3'):
        read_mask(kept(tmp_path, mask(1, 3)), DECLARED)


def test_a_mask_of_0_and_255_is_told_what_to_declare(tmp_path: Path) -> None:
    path = kept(tmp_path, mask(255))
    with pytest.raises(Refused, match=r'LBL-255.*\{"labels": \{"left lung": 255\}\}'):
        read_mask(path, DECLARED)
    with pytest.raises(Refused, match="LBL-255"):
        read_mask(path)
    assert read_mask(path, accept=("LBL-255",)).volume.voxels.max() == 255
    assert read_mask(path, Labels(structures={"lung": 255})).findings == ()


def test_masks_without_a_side_need_no_forms(tmp_path: Path) -> None:
    path = kept(tmp_path, mask(1, 2), sform_code=0, qform_code=0)
    (found,) = read_mask(path, Labels(structures={"a": 1, "b": 2})).findings
    assert (found.code, found.severity) == ("GEO-NOFORM", "warn")
    with pytest.raises(Refused, match="tell left from right"):
        read_mask(path, DECLARED)


def test_an_empty_mask_is_a_warning(tmp_path: Path) -> None:
    (found,) = read_mask(kept(tmp_path, mask()), DECLARED).findings
    assert (found.code, found.severity) == ("LBL-EMPTY", "warn")


@given(
    voxels=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.int64, np.uint16]),
        (3, 4, 2),
        elements=st.integers(0, 120),
    )
    | arrays.arrays(np.int64, (3, 4, 2), elements=st.integers(-(2**40), 2**40))
)
def test_counts_are_those_of_sorting(voxels: Any) -> None:
    values, counts = np.unique(voxels, return_counts=True)
    assert label_counts(voxels) == dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert label_counts(np.asfortranarray(voxels)) == label_counts(voxels)


def test_what_write_keeps_read_mask_gives_back(tmp_path: Path) -> None:
    volume = volume_of(np.uint16)
    reading = read_mask(write(volume, tmp_path / "mask.nii.gz"), accept=())
    np.testing.assert_array_equal(reading.volume.voxels, volume.voxels)
    np.testing.assert_array_equal(reading.volume.grid.affine, volume.grid.affine)


@pytest.mark.parametrize("order", ["C", "F"])
def test_counting_takes_no_eight_bytes_a_voxel(order: str) -> None:
    rng = np.random.default_rng(0)
    voxels = np.asarray(rng.integers(0, 9, (1, 180, 180, 180)), dtype="u1", order=order)[:, ::-1]
    tracemalloc.start()
    counts = label_counts(voxels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * voxels.size
    assert list(counts.values()) == np.unique(voxels, return_counts=True)[1].tolist()
