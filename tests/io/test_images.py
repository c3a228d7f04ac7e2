"""Plain images: every kind of file, masks by value and by colour, and what is refused."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import volunet as vn
from tests.io import pictures as draw
from volunet.errors import ConfigError, GeometryError, ShapeError
from volunet.findings import Refused
from volunet.io.masks import read_mask
from volunet.io.scan import inspect, read_header
from volunet.io.sniff import HEAD, sniff
from volunet.space.labels import Labels
from volunet.space.labels_file import labels_from
from volunet.space.picture import is_picture, picture_grid
from volunet.space.volume import Volume

ROADS = Labels(
    structures={"road": 1, "car": 7},
    colours={"road": "#804080", "car": "#00008E", "ignore": "#ffffff"},
    ignore=255,
    masks="colours",
)


def codes(reading) -> list[str]:
    return [found.code for found in reading.findings]


def refused_as(read, *arguments, **more) -> str:
    with pytest.raises(Refused) as caught:
        read(*arguments, **more)
    assert all(found.advice for found in caught.value.findings)
    return caught.value.findings[0].code


@given(pixels=draw.pictures(), ending=st.sampled_from([".png", ".tif"]))
def test_columns_are_i_and_rows_are_j_whatever_the_file(pixels, ending):
    with TemporaryDirectory() as folder:
        path = draw.save(pixels, Path(folder, f"a{ending}"))
        volume = inspect(path).volume
        header = read_header([path])
    assert volume.voxels.dtype == pixels.dtype
    np.testing.assert_array_equal(volume.voxels[..., 0], pixels.transpose(2, 1, 0))
    assert is_picture(volume.grid)
    assert (header.grid.matches(volume.grid), header.channels) == (True, volume.channels)


@given(pixels=draw.pictures())
def test_what_is_written_is_what_another_reader_sees(pixels):
    volume = Volume(pixels.transpose(2, 1, 0)[..., None], picture_grid(*pixels.shape[1::-1]))
    with TemporaryDirectory() as folder:
        path = vn.write(volume, Path(folder, "mask.png"))
        same = vn.read(path)
        if pixels.shape[-1] == 1:
            np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels[..., 0])
            assert read_mask(path, accept=["LBL-255"]).volume.grid.matches(volume.grid)
    np.testing.assert_array_equal(same.voxels, volume.voxels)
    assert same.voxels.dtype == (np.uint8 if pixels.max() < 256 else np.uint16)


@pytest.mark.parametrize("ending", [".bmp", ".jpg"])
@pytest.mark.parametrize("parts", [1, 3])
def test_bmp_and_jpeg_lie_as_other_readers_have_them(tmp_path, ending, parts):
    rows, columns = np.mgrid[:40, :70]
    pixels = np.stack([rows + 2 * columns] * parts, axis=-1).squeeze().astype(np.uint8)
    path = tmp_path / f"a{ending}"
    Image.fromarray(pixels).save(path)
    seen = np.asarray(Image.open(path)).reshape(40, 70, parts).astype(int)
    ours = inspect(path).volume.voxels[..., 0].transpose(2, 1, 0)
    assert np.abs(seen - ours).max() <= (2 if ending == ".jpg" else 0)


def test_lines_in_seven_passes_and_few_bits(tmp_path):
    pixels = draw.ramp(11, 13)[..., 0]
    (tmp_path / "adam.png").write_bytes(draw.interlaced(pixels))
    np.testing.assert_array_equal(
        vn.read(tmp_path / "adam.png").voxels[0, ..., 0], pixels.T.astype(np.uint8)
    )
    (tmp_path / "two.png").write_bytes(draw.png([b"\x1b", b"\xe4"], 4, 2, colour=0, bits=2))
    mask = read_mask(tmp_path / "two.png").volume.voxels
    np.testing.assert_array_equal(mask[0, ..., 0].T, [[0, 1, 2, 3], [3, 2, 1, 0]])


@pytest.mark.parametrize("name", [b"sBIT", b"gAMA", b"tRNS"])
def test_notes_for_the_screen_do_not_change_the_numbers(tmp_path, name):
    data = {b"sBIT": b"\x05", b"gAMA": b"\0\0\xb1\x8f", b"tRNS": b"\0\x03"}[name]
    pixels = draw.ramp(5, 8)[..., 0] * 3
    lines = [line.tobytes() for line in pixels.astype(np.uint8)]
    path = tmp_path / "a.png"
    path.write_bytes(draw.png(lines, 8, 5, colour=0, bits=8, more=draw.chunk(name, data)))
    reading = inspect(path)
    np.testing.assert_array_equal(reading.volume.voxels[0, ..., 0], pixels.T)
    assert codes(reading) == (["IMG-ALPHA"] if name == b"tRNS" else [])


def test_alpha_is_left_out_and_that_is_said(tmp_path):
    pixels = draw.ramp(6, 9, 4)
    for ending in (".png", ".tif"):
        Image.fromarray(pixels).save(tmp_path / f"a{ending}")
        reading = inspect(tmp_path / f"a{ending}")
        assert codes(reading) == ["IMG-ALPHA"]
        np.testing.assert_array_equal(
            reading.volume.voxels[..., 0], pixels[..., :3].transpose(2, 1, 0)
        )


def test_a_palette_is_colours_in_an_image_and_indices_in_a_mask(tmp_path):
    indices = (draw.ramp(6, 9)[..., 0] % 3).astype(np.uint8)
    path = draw.save_indexed(indices, [0, 0, 0, 128, 64, 128, 0, 0, 142], tmp_path / "a.png")
    image = vn.read(path)
    assert image.channels == 3
    assert image.voxels[:, 1, 0, 0].tolist() == [128, 64, 128]
    np.testing.assert_array_equal(read_mask(path).volume.voxels[0, ..., 0], indices.T)
    by_colour = read_mask(path, ROADS).volume.voxels[0, ..., 0]
    np.testing.assert_array_equal(by_colour, np.array([0, 1, 7])[indices.T])


def test_masks_in_colours_come_back_as_the_same_colours(tmp_path):
    values = np.array([0, 1, 7, 255], dtype=np.uint8)[draw.ramp(6, 9)[..., 0] % 4]
    volume = Volume(values.T[None, ..., None], picture_grid(9, 6))
    path = vn.write(volume, tmp_path / "a.png", colours=ROADS.mask_colours)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), values)
    colours = np.asarray(Image.open(path).convert("RGB"))
    assert colours[0, :4].tolist() == [[0, 0, 0], [128, 64, 128], [0, 0, 142], [255, 255, 255]]
    Image.fromarray(colours).save(tmp_path / "rgb.png")
    for name in ("a.png", "rgb.png"):
        read = read_mask(tmp_path / name, ROADS).volume
        np.testing.assert_array_equal(read.voxels, volume.voxels)


def test_a_mask_of_four_bands_is_refused_with_advice(tmp_path):
    Image.frombytes("RGBX", (9, 6), draw.ramp(6, 9, 4).tobytes()).save(tmp_path / "a.tif")
    for labels in (None, ROADS):
        with pytest.raises(Refused, match="has 4 bands") as caught:
            read_mask(tmp_path / "a.tif", labels)
        assert "Save it as grey, or as RGB" in caught.value.findings[0].advice


def test_unknown_colours_are_told_with_their_counts(tmp_path):
    pixels = np.zeros((10, 10, 3), dtype=np.uint8)
    pixels[:3], pixels[3] = (128, 64, 128), (1, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(Refused, match=r"#010203 \(10 pixels\), which are not declared") as caught:
        read_mask(tmp_path / "a.png", ROADS)
    assert "#804080" in str(caught.value)
    with pytest.raises(Refused, match=r"holds the colours #000000 \(60 pixels\), #804080 \(30"):
        read_mask(tmp_path / "a.png", Labels(structures={"road": 1}))


def test_a_mask_of_0_and_255_is_a_structure_of_that_value_be_it_grey_or_rgb(tmp_path):
    grey = np.where(draw.ramp(6, 9)[..., 0] > 30, 255, 0).astype(np.uint8)
    cell = Labels(structures={"cell": 255})
    for name, pixels in {"grey": grey, "rgb": np.stack([grey] * 3, axis=-1)}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        mask = read_mask(tmp_path / f"{name}.png", cell).volume
        np.testing.assert_array_equal(mask.voxels[0, ..., 0], grey.T)
        assert refused_as(read_mask, tmp_path / f"{name}.png") == "LBL-255"


def test_masks_in_jpeg_are_refused(tmp_path):
    Image.fromarray(draw.ramp(9, 9)[..., 0]).save(tmp_path / "a.jpg")
    assert refused_as(read_mask, tmp_path / "a.jpg") == "LBL-LOSSY"


def test_what_is_not_read_is_refused_with_advice(tmp_path):
    rgb = Image.fromarray(draw.ramp(6, 9, 3))
    rgb.save(tmp_path / "stack.tif", save_all=True, append_images=[rgb, rgb])
    assert refused_as(inspect, tmp_path / "stack.tif") == "IMG-AXES"
    Image.fromarray(draw.ramp(6, 9, 4), mode="CMYK").save(tmp_path / "print.jpg")
    Image.fromarray(draw.ramp(6, 9, 2)).save(tmp_path / "grey_alpha.png")
    Image.fromarray(draw.ramp(6, 9)[..., 0] > 9).save(tmp_path / "one_bit.tif")
    rgb.save(tmp_path / "turned.tif", tiffinfo={274: 6})
    assert refused_as(inspect, tmp_path / "turned.tif", accept=["IMG-TURNED"]) == "IMG-TURNED"
    for name in ("print.jpg", "grey_alpha.png", "one_bit.tif"):
        assert refused_as(inspect, tmp_path / name) == "IO-FORMAT"
    rgb.save(tmp_path / "scan.nii.gz", format="PNG")
    assert refused_as(inspect, tmp_path / "scan.nii.gz") == "IO-FORMAT"
    rgb.save(tmp_path / "really.jpg", format="PNG")
    assert codes(inspect(tmp_path / "really.jpg")) == ["IO-NAME"]


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_picture_that_asks_to_be_turned_is_refused_unless_accepted(tmp_path, ending):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(draw.ramp(6, 9)[..., 0]).save(tmp_path / f"a{ending}", exif=exif)
    assert refused_as(inspect, tmp_path / f"a{ending}") == "IMG-TURNED"
    assert inspect(tmp_path / f"a{ending}", accept=["IMG-TURNED"]).volume.grid.shape == (9, 6, 1)


@settings(max_examples=60)
@given(data=st.data(), ending=st.sampled_from([".png", ".jpg", ".tif", ".bmp"]))
def test_no_damage_ends_in_anything_but_a_refusal(data, ending):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder, f"a{ending}")
        Image.fromarray(pixels).save(path)
        whole, content = inspect(path).volume, path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(HEAD, len(content) - 2))])
        assert refused_as(inspect, path) == "IO-TRUNC"
        at = data.draw(st.integers(0, len(content) - 1))
        flipped = bytes([content[at] ^ data.draw(st.integers(1, 255))])
        path.write_bytes(content[:at] + flipped + content[at + 1 :])
        try:
            read = inspect(path).volume
        except Refused:
            return
        if ending == ".png":  # whose every byte has a checksum
            np.testing.assert_array_equal(read.voxels, whole.voxels)


def test_a_claim_that_no_file_holds_is_not_believed(tmp_path):
    (tmp_path / "a.png").write_bytes(draw.png([b"\0" * 9], 60_000, 60_000, colour=2, bits=8))
    assert refused_as(inspect, tmp_path / "a.png") == "IO-BOMB"
    assert sniff((tmp_path / "a.png").read_bytes()[:HEAD]) == "a PNG picture"


def test_only_pictures_are_written_as_png(tmp_path):
    voxels = draw.ramp(6, 9)[None]
    elsewhere = vn.Grid((6, 9, 1), np.diag([1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(GeometryError, match=r"Write \.nii\.gz"):
        vn.write(Volume(voxels, elsewhere), tmp_path / "a.png")
    grid = picture_grid(6, 9)
    for wrong in (voxels.astype(np.float32), voxels.astype(np.int64) - 1, voxels * np.uint32(9999)):
        with pytest.raises(ShapeError, match="whole numbers from 0 to 65535"):
            vn.write(Volume(wrong, grid), tmp_path / "a.png")
    with pytest.raises(ShapeError, match="PNG takes 1 or 3"):
        vn.write(Volume(np.repeat(voxels, 2, axis=0), grid), tmp_path / "a.png")
    with pytest.raises(ShapeError, match="values up to 255"):
        vn.write(Volume(voxels + np.uint16(300), grid), tmp_path / "a.png", colours={0: "#000000"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"labels": {"a": 1, "b": 2}, "colours": {"a": "#ff0000"}}, "colour for each of"),
        ({"labels": {"a": 1}, "colours": {"a": "#000000"}}, "the background"),
        ({"labels": {"a": 256}, "colours": {"a": "#ff0000"}}, "a palette, which ends at 255"),
        ({"labels": {"a": 1}, "colours": {"a": "#ff0000"}, "ignore": 9}, "'ignore'"),
        ({"labels": {"a": 1}, "colours": {"a": "#ff0000", "b": "#00ff00"}}, "not among"),
    ],
)
def test_masks_in_colours_need_one_for_each(said, message):
    with pytest.raises(ConfigError, match=message):
        labels_from({**said, "masks": "colours"}, at="labels.json")
