"""NRRD and MetaImage: nothing missing passes for zeros, and LPS becomes RAS."""

from __future__ import annotations

import gzip
import re
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.faults.corpus import keep
from tests.io.scans import volume_of
from volunet.codes import CODES
from volunet.findings import Refused
from volunet.io.itk_bytes import Lying
from volunet.io.read import Reading, inspect, read, read_mask
from volunet.io.scan import read_header
from volunet.io.write import write
from volunet.space.labels import Labels

NRRD = b"""NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 5 6
space directions: (1,0,0) (0,1,0) (0,0,3)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (5,6,7)

"""
META = b"""ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 5 6 7
ElementSpacing = 1 1 3
DimSize = 4 5 6
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
VOXELS = np.arange(120, dtype="<i2")
PLACE = b"space directions: (1,0,0) (0,1,0) (0,0,3)\n"
Edit = Callable[[bytes], bytes]


def swap(old: bytes, new: bytes) -> Edit:
    def edit(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return edit


BAD: dict[str, tuple[str, str, Edit]] = {
    "cut NRRD": ("a.nrrd", "IO-TRUNC", lambda b: b[:-1]),
    "NRRD without voxels": ("a.nrrd", "IO-TRUNC", lambda b: b[: len(NRRD)]),
    "cut NRRD header": ("a.nrrd", "IO-TRUNC", lambda b: b[:60]),
    "NRRD that claims too much": ("a.nrrd", "IO-TRUNC", swap(b"4 5 6", b"9000 9000 9000")),
    "NRRD of another type": ("a.nrrd", "NII-DTYPE", swap(b"short", b"block")),
    "NRRD with a line that never ends": ("a.nrrd", "IO-FORMAT", swap(b"little", b"A" * 3000)),
    "NRRD with a field nobody knows that never ends": (
        "a.nrrd",
        "IO-FORMAT",
        swap(b"endian", b"A" * 3000 + b"\nendian"),
    ),
    "NRRD with an empty axis": ("a.nrrd", "NII-DIM", swap(b"4 5 6", b"4 0 6")),
    "NRRD of words": ("a.nrrd", "IO-FORMAT", swap(b"4 5 6", b"four 5 6")),
    "NRRD as text": ("a.nrrd", "IO-FORMAT", swap(b"raw", b"ascii")),
    "NRRD with its voxels elsewhere": (
        "a.nrrd",
        "IO-FORMAT",
        swap(b"endian", b"data file: b.raw\nendian"),
    ),
    "NRRD that ends with the name of its voxels": (
        "a.nrrd",
        "IO-FORMAT",
        lambda b: b[: len(NRRD)].rstrip() + b"\ndata file: b.raw\n",
    ),
    "NRRD that says gzip and is not": ("a.nrrd", "IO-CRC", swap(b"raw", b"gzip")),
    "NRRD in metres": (
        "a.nrrd",
        "GEO-UNITS-ODD",
        swap(b"endian", b'space units: "m" "m" "m"\nendian'),
    ),
    "flat NRRD": ("a.nrrd", "IO-FORMAT", swap(b"(0,1,0)", b"(1,0,0)")),
    "sheared NRRD": ("a.nrrd", "GEO-SHEAR", swap(b"(0,1,0)", b"(0.1,1,0)")),
    "NRRD of more slices than it says": ("a.nrrd", "IO-TRAILING", swap(b"4 5 6", b"4 5 5")),
    "MHA of more slices than it says": ("a.mha", "IO-TRAILING", swap(b"4 5 6", b"4 5 5")),
    "cut MHA": ("a.mha", "IO-TRUNC", lambda b: b[:-1]),
    "MHA without voxels": ("a.mha", "IO-TRUNC", lambda b: b[: len(META)]),
    "cut MHA header": ("a.mha", "IO-TRUNC", lambda b: b[:100]),
    "MHA that claims too much": ("a.mha", "IO-TRUNC", swap(b"4 5 6", b"9000 9000 9000")),
    "MHA of another type": ("a.mha", "NII-DTYPE", swap(b"MET_SHORT", b"MET_OTHER")),
    "MHA without sizes": ("a.mha", "NII-DIM", swap(b"DimSize", b"DimSice")),
    "MHA of more axes than sizes": ("a.mha", "NII-DIM", swap(b"NDims = 3", b"NDims = 99")),
    "MHA of fewer axes than none": ("a.mha", "NII-DIM", swap(b"NDims = 3", b"NDims = -1")),
    "MHA that counts its axes twice": (
        "a.mha",
        "NII-DIM",
        swap(b"NDims = 3", b"NDims = 99\nNDims = 3"),
    ),
    "MHA with negative spacing": ("a.mha", "GEO-SPACING", swap(b"1 1 3", b"1 -1 3")),
    "MHA with zero spacing": ("a.mha", "GEO-SPACING", swap(b"1 1 3", b"1 0 3")),
    "MHA without spacing": ("a.mha", "GEO-SPACING", swap(b"ElementSpacing", b"ElementSpace")),
    "NRRD without spacing": ("a.nrrd", "GEO-SPACING", swap(PLACE, b"")),
    "NRRD with spacings of NaN": ("a.nrrd", "GEO-SPACING", swap(PLACE, b"spacings: 1 nan 3\n")),
    "NRRD with negative spacings": ("a.nrrd", "GEO-SPACING", swap(PLACE, b"spacings: 1 -1 3\n")),
    "NRRD at the end of the world": ("a.nrrd", "GEO-AFFINE", swap(b"(5,6,7)", b"(5,-1e7,7)")),
    "MHA at the end of the world": ("a.mha", "GEO-AFFINE", swap(b"5 6 7", b"5 6 1e8")),
    "MHA with its voxels missing": ("a.mhd", "IO-MISSING", swap(b"LOCAL", b"b.raw")),
    "MHA with its voxels far away": ("a.mhd", "IO-FORMAT", swap(b"LOCAL", b"/etc/passwd")),
    "MHA that says zlib and is not": ("a.mha", "IO-CRC", swap(b"Data = False", b"Data = True")),
    "MHA as text": ("a.mha", "IO-FORMAT", swap(b"BinaryData = True", b"BinaryData = False")),
    "colours in MHA": (
        "a.mha",
        "IMG-COLOUR",
        lambda b: swap(b"DimSize = 4 5 6", b"ElementNumberOfChannels = 3\nDimSize = 4 5 4")(
            swap(b"MET_SHORT", b"MET_UCHAR")(b)
        ),
    ),
    "vectors in MHA": (
        "a.mha",
        "IMG-AXES",
        swap(b"DimSize = 4 5 6", b"ElementNumberOfChannels = 2\nDimSize = 2 5 6"),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_code(name: str, tmp_path: Path) -> None:
    file, code, edit = BAD[name]
    sound = (NRRD if "nrrd" in file else META) + VOXELS.tobytes()
    path = keep(tmp_path, file, edit(sound))
    with pytest.raises(Refused) as refusal:
        inspect(path)
    assert refusal.value.findings[0].code == code


@pytest.mark.parametrize(("cut", "code"), [(False, "IO-BOMB"), (True, "IO-TRUNC")])
@pytest.mark.parametrize("file", ["a.nrrd", "a.mha"])
def test_packed_voxels_that_were_cut_are_told_from_a_bomb(
    tmp_path: Path, file: str, cut: bool, code: str
) -> None:
    if file == "a.nrrd":
        header, packed = swap(b"raw", b"gzip")(NRRD), gzip.compress(bytes(1 << 20))
    else:
        header, packed = swap(b"= False\nT", b"= True\nT")(META), zlib.compress(bytes(1 << 20))
    content = swap(b"4 5 6", b"900 900 900")(header) + packed[: -9 if cut else None]
    for looks in (inspect, lambda path: read_header([path])):
        with pytest.raises(Refused) as refusal:
            looks(keep(tmp_path, file, content))
        assert refusal.value.findings[0].code == code


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.mha", META.replace(b"ElementSpacing = 1 1 3\n", b"")),
        ("a.nrrd", re.sub(rb"space.*\n", b"", NRRD)),
    ],
)
def test_a_file_without_spacing_is_taken_for_1_mm_only_where_that_is_accepted(
    tmp_path: Path, file: str, content: bytes
) -> None:
    path = keep(tmp_path, file, content + VOXELS.tobytes())
    with pytest.raises(Refused, match="accept GEO-SPACING to take 1 mm"):
        inspect(path)
    reading = inspect(path, accept=["GEO-SPACING"])
    assert reading.volume.grid.spacing == (1, 1, 1)
    assert [f.accepted for f in reading.findings if f.code == "GEO-SPACING"] == [True]


def test_the_size_of_elements_stands_in_for_their_spacing(tmp_path: Path) -> None:
    content = META.replace(b"ElementSpacing", b"ElementSize") + VOXELS.tobytes()
    assert inspect(keep(tmp_path, "a.mha", content)).volume.grid.spacing == (1, 1, 3)


@pytest.mark.parametrize(("file", "header"), [("a.nrrd", NRRD), ("a.mha", META)])
def test_axes_are_turned_and_lps_becomes_ras(tmp_path: Path, file: str, header: bytes) -> None:
    reading = inspect(keep(tmp_path, file, header + VOXELS.tobytes()))
    assert reading.findings == ()
    assert reading.volume.grid.orientation == "LPS"
    assert reading.volume.grid.spacing == (1, 1, 3)
    assert reading.volume.grid.affine[:3, 3].tolist() == [-5, -6, 7]
    np.testing.assert_array_equal(reading.volume.voxels[0], VOXELS.reshape(4, 5, 6, order="F"))


@pytest.mark.parametrize(
    ("file", "header", "little", "big"),
    [
        ("a.nrrd", NRRD, b"endian: little", b"endian: big"),
        ("a.mha", META, b"MSB = False", b"MSB = True"),
    ],
)
def test_big_endian_voxels_are_turned(
    tmp_path: Path, file: str, header: bytes, little: bytes, big: bytes
) -> None:
    content = header.replace(little, big) + VOXELS.astype(">i2").tobytes()
    voxels = inspect(keep(tmp_path, file, content)).volume.voxels
    np.testing.assert_array_equal(voxels[0], VOXELS.reshape(4, 5, 6, order="F"))


@pytest.mark.parametrize(
    ("file", "header", "advice"),
    [
        ("a.nrrd.gz", NRRD, "Unpack it with gunzip."),
        ("a.mha.gz", META, "Unpack it with gunzip."),
        ("a.nrrd", NRRD, "Add .gz to its name and run gunzip on it."),
    ],
)
def test_a_file_that_is_packed_as_a_whole_is_to_be_unpacked(
    tmp_path: Path, file: str, header: bytes, advice: str
) -> None:
    path = keep(tmp_path, file, gzip.compress(header + VOXELS.tobytes()))
    for look in (lambda: inspect(path, accept=["IO-NAME"]), lambda: read_header([path])):
        with pytest.raises(Refused) as refused:
            look()
        (found,) = refused.value.findings
        assert (found.code, found.advice) == ("IO-FORMAT", advice)


def test_big_endian_voxels_are_turned_in_place(tmp_path: Path) -> None:
    header = META.replace(b"MSB = False", b"MSB = True").replace(b"4 5 6", b"160 160 160")
    voxels = (np.arange(160**3) % 3000).astype(">i2")
    path = keep(tmp_path, "a.mha", header + voxels.tobytes())
    np.testing.assert_array_equal(inspect(path).volume.voxels.ravel(order="F"), voxels)
    tracemalloc.start()
    inspect(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * voxels.nbytes  # what SimpleITK holds is counted, and not traced


def test_a_header_with_the_voxels_beside_it_is_read(tmp_path: Path) -> None:
    keep(tmp_path, "a.raw", VOXELS.tobytes())
    path = keep(tmp_path, "a.mhd", META.replace(b"LOCAL", b"a.raw"))
    assert read(path).voxels.ravel(order="F").tolist() == VOXELS.tolist()


@pytest.mark.parametrize(
    ("file", "header", "line"),
    [("a.nrrd", NRRD, b"space: left-posterior-superior\n"), ("a.mha", META, b"TransformMatrix")],
)
def test_a_file_that_does_not_say_where_it_lies_is_told(
    tmp_path: Path, file: str, header: bytes, line: bytes
) -> None:
    kept = [each for each in header.splitlines(keepends=True) if not each.startswith(line)]
    if file == "a.nrrd":
        kept = [each for each in kept if not each.startswith((b"space",))]
        kept.insert(3, b"spacings: 1 1 3\n")
    path = keep(tmp_path, file, b"".join(kept) + VOXELS.tobytes())
    reading = inspect(path)
    (found,) = reading.findings
    assert found.code == "GEO-NOFORM"
    assert ("space directions" if file == "a.nrrd" else "TransformMatrix") in found.advice
    assert "the sform" not in found.advice
    assert (np.diag(reading.volume.grid.affine)[:2] == -1).all(), "the axes are not LPS"
    sided = Labels(structures={"left lung": 1, "right lung": 2})
    with pytest.raises(Refused) as refused:
        read_mask(path, sided)
    told = refused.value.findings[0].advice
    assert "TransformMatrix in MHA, or space and space directions in NRRD" in told
    assert "LPS in MHA and NRRD" in told


@pytest.mark.parametrize(
    ("space", "diagonal"),
    [
        ("left-posterior-superior", (-1, -1, 3)),
        ("LPS", (-1, -1, 3)),
        ("right-anterior-superior", (1, 1, 3)),
        ("RAS", (1, 1, 3)),
        ("left-anterior-superior", (-1, 1, 3)),
    ],
)
def test_the_axes_of_a_space_are_its_own(tmp_path: Path, space: str, diagonal: tuple) -> None:
    header = NRRD.replace(b"left-posterior-superior", space.encode())
    reading = inspect(keep(tmp_path, "a.nrrd", header + VOXELS.tobytes()))
    assert reading.findings == ()
    assert np.diag(reading.volume.grid.affine)[:3].tolist() == list(diagonal)


def test_a_space_that_names_no_sides_is_told_and_one_with_time_refused(tmp_path: Path) -> None:
    header = NRRD.replace(b"left-posterior-superior", b"scanner-xyz")
    reading = inspect(keep(tmp_path, "a.nrrd", header + VOXELS.tobytes()))
    assert [found.code for found in reading.findings] == ["GEO-NOFORM"]
    header = NRRD.replace(b"left-posterior-superior", b"right-anterior-superior-time")
    with pytest.raises(Refused, match=r"IO-FORMAT.*is not read"):
        inspect(keep(tmp_path, "b.nrrd", header + VOXELS.tobytes()))


def test_remarks_of_an_nrrd_may_be_long(tmp_path: Path) -> None:
    long = b"content: %b\n# %b\nkey:=%b\nendian" % ((b"A" * 3000,) * 3)
    header = swap(b"endian", long)(NRRD)
    assert inspect(keep(tmp_path, "a.nrrd", header + VOXELS.tobytes())).findings == ()


def test_axes_of_one_are_dropped_and_that_is_told(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(VOXELS.reshape(1, 6, 5, 4), isVector=False)
    listed = swap(b"dimension: 3", b"dimension: 4")(swap(b"4 5 6", b"4 5 6 1")(NRRD))
    listed = swap(b"(0,0,3)", b"(0,0,3) none")(swap(b"\nendian", b" list\nendian")(listed))
    keep(tmp_path, "listed.nrrd", listed + VOXELS.tobytes())
    for name in ("a.mha", "a.nrrd"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
    for name in ("a.mha", "a.nrrd", "listed.nrrd"):
        for channels_in_file in (False, True):
            reading = inspect(tmp_path / name, channels_in_file=channels_in_file)
            assert "IMG-SQUEEZED" in {found.code for found in reading.findings}
            assert reading.volume.voxels.ravel(order="F").tolist() == VOXELS.tolist()


def test_a_plane_is_one_slice_where_that_is_accepted(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(VOXELS.reshape(10, 12))
    image.SetSpacing((1, 2))
    image.SetOrigin((5, 6))
    for name in ("a.mha", "a.nrrd"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        for look in (inspect, lambda path: read_header([path])):
            with pytest.raises(Refused, match="IMG-2D"):
                look(tmp_path / name)
        volume = inspect(tmp_path / name, accept=["IMG-2D"]).volume
        np.testing.assert_array_equal(volume.voxels[0, ..., 0], VOXELS.reshape(10, 12).T)
        assert volume.grid.spacing == (1, 2, 1)
        assert volume.grid.affine[:3, 3].tolist() == [-5, -6, 0]
        header = read_header([tmp_path / name], accept=["IMG-2D"])
        assert header.grid.matches(volume.grid)


def test_parts_of_a_voxel_are_channels_where_asked(tmp_path: Path) -> None:
    stored = np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2)
    image = SimpleITK.GetImageFromArray(stored, isVector=True)
    for name in ("a.mha", "a.nrrd"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        voxels = inspect(tmp_path / name, channels_in_file=True).volume.voxels
        np.testing.assert_array_equal(voxels, stored.transpose(3, 2, 1, 0))
        with pytest.raises(Refused, match="IMG-AXES"):
            inspect(tmp_path / name)


@pytest.mark.parametrize(
    ("kinds", "place"),
    [("list domain domain domain", 0), ("domain domain domain list", 3)],
)
def test_channels_of_an_nrrd_come_first(tmp_path: Path, kinds: str, place: int) -> None:
    directions = ["(1,0,0)", "(0,1,0)", "(0,0,3)"]
    directions.insert(place, "none")
    header = NRRD
    for old, new in (
        (b"dimension: 3", b"dimension: 4"),
        (b"sizes: 4 5 6", b"sizes: 2 5 6 2"),
        (b"domain domain domain", kinds.encode()),
        (PLACE, f"space directions: {' '.join(directions)}\n".encode()),
    ):
        header = swap(old, new)(header)
    path = keep(tmp_path, "a.nrrd", header + VOXELS.tobytes())
    if place == 0:
        assert inspect(path, channels_in_file=True).volume.voxels.shape == (2, 5, 6, 2)
        return
    for look in (inspect, lambda path, **more: read_header([path], **more)):
        with pytest.raises(Refused, match="Axis 4 of 4 holds channels") as refused:
            look(path, channels_in_file=True)
        assert refused.value.findings[0].code == "IMG-AXES"
        assert "on the first axis" in refused.value.findings[0].advice


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_what_simpleitk_writes_is_read(
    tmp_path: Path, dtype: Any, ending: str, compressed: bool
) -> None:
    volume = volume_of(dtype)
    image = SimpleITK.GetImageFromArray(volume.voxels[0].T)
    affine = np.diag([-1.0, -1, 1, 1]) @ volume.grid.affine
    image.SetSpacing(volume.grid.spacing)
    image.SetDirection((affine[:3, :3] / volume.grid.spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(tmp_path / f"a{ending}"), useCompression=compressed)
    reading = inspect(tmp_path / f"a{ending}")
    assert reading.findings == ()
    assert reading.volume.voxels.dtype == dtype
    np.testing.assert_array_equal(reading.volume.voxels, volume.voxels)
    np.testing.assert_allclose(reading.volume.grid.affine, volume.grid.affine, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("itk")


def outcome(path: Path, **asked: Any) -> Reading | None:
    try:
        return inspect(path, **asked)
    except Refused:
        return None


def voxels_start(content: bytes) -> int:
    return content.index(b"\n\n") + 2 if content[:4] == b"NRRD" else content.index(b"LOCAL\n") + 6


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_packed_file_cut_or_flipped_in_its_voxels_never_gives_others(
    folder: Path, ending: str
) -> None:
    volume = volume_of(np.int16)
    sound = write(volume, folder / f"sound{ending}").read_bytes()
    first = voxels_start(sound)
    for at in range(first, len(sound)):
        assert outcome(keep(folder, f"cut{ending}", sound[:at])) is None
    for at in range(first, len(sound)):
        bad = sound[:at] + bytes([sound[at] ^ 0x24]) + sound[at + 1 :]
        reading = outcome(keep(folder, f"flip{ending}", bad))
        assert reading is None or np.array_equal(reading.volume.voxels, volume.voxels)


@pytest.mark.parametrize(("file", "header"), [("a.nrrd", NRRD), ("a.mha", META)])
@given(at=st.integers(0, 200), new=st.binary(min_size=1, max_size=6), accept=st.booleans())
def test_any_text_header_is_read_or_refused_and_nothing_else(
    folder: Path, file: str, header: bytes, at: int, new: bytes, accept: bool
) -> None:
    content = header[:at] + new + header[at + len(new) :] + VOXELS.tobytes()
    outcome(keep(folder, file, content), accept=tuple(CODES) if accept else ())


def test_a_mask_is_read_from_any_format(tmp_path: Path) -> None:
    volume = volume_of(np.uint8)
    masks: list[NDArray[Any]] = []
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha"):
        path = write(volume, tmp_path / f"mask{ending[-2:]}{ending}")
        masks.append(read_mask(path).volume.voxels)
    assert all(np.array_equal(mask, volume.voxels) for mask in masks)


@pytest.mark.parametrize(
    ("sizes", "slice_bytes"), [((4, 5, 6), 40), ((3, 4, 5, 6), 120), ((40, 50, 60, 2), 4000)]
)
def test_a_slice_has_all_channels_that_come_first(sizes: tuple[int, ...], slice_bytes: int) -> None:
    lying = Lying(Path("a.nrrd"), 0, sizes, np.dtype("i2"), packed=False)
    assert lying.slice_bytes == slice_bytes
