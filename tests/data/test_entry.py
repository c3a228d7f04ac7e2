import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from volunet.data.entry import read_entry, write_entry

ARRAYS = {
    "image": np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5),
    "label": np.asfortranarray(np.arange(60, dtype=np.uint8).reshape(3, 4, 5)),
    "none": np.zeros((0, 3), dtype=np.int32),
}


@pytest.fixture
def path(tmp_path):
    write_entry(tmp_path / "e", {"key": "k", "affine": [[1.5]]}, ARRAYS)
    return tmp_path / "e"


def test_an_entry_gives_back_what_was_written(path):
    entry = read_entry(path, "k")
    assert entry is not None
    assert entry.facts == {"key": "k", "affine": [[1.5]]}
    assert entry.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert isinstance(entry.arrays[name], np.memmap) or not array.size
        assert entry.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(entry.arrays[name], array)


def test_arrays_of_an_entry_cannot_be_changed(path):
    entry = read_entry(path, "k")
    with pytest.raises(ValueError, match="read-only"):
        entry.arrays["image"][0, 0, 0, 0] = 1


def test_a_flip_of_any_bit_is_noticed(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        assert read_entry(path, "k") is None, f"byte {place}"
    path.write_bytes(whole)
    assert read_entry(path, "k") is not None


def test_an_entry_of_any_other_length_is_noticed(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_entry(path, "k") is None, f"{length} bytes"
    path.write_bytes(whole + b"\0")
    assert read_entry(path, "k") is None


def test_another_entry_a_folder_and_nothing_are_no_entry(path, tmp_path):
    assert read_entry(path, "other") is None
    assert read_entry(tmp_path, "k") is None
    assert read_entry(tmp_path / "none", "k") is None


@settings(max_examples=30)
@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=5),
        hnp.arrays(
            st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
            hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
        ),
        max_size=4,
    )
)
def test_any_arrays_survive(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("entries") / "e"
    write_entry(path, {"key": "k"}, arrays)
    entry = read_entry(path, "k")
    assert entry is not None
    assert entry.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(entry.arrays[name], array)
        assert entry.arrays[name].dtype == array.dtype
