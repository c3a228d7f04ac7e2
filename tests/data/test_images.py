"""Datasets and folders of plain images."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.data.on_disk import write_image
from volunet.data.cache import PreparedCases
from volunet.data.check import check_dataset
from volunet.data.layouts import find_dataset
from volunet.data.read_case import read_images
from volunet.data.scans import find_scans
from volunet.data.survey import survey
from volunet.errors import ConfigError
from volunet.evaluation.pairs import find_masks
from volunet.findings import Refused
from volunet.planning.machine import Machine
from volunet.planning.make import make_plan
from volunet.planning.plan import Plan
from volunet.space.labels import Labels

CELL = Labels(structures={"cell": 255})
LAPTOP = Machine(device="cpu", memory_gb=8, cores=2)


def save(path, shape=(12, 10), *, value=200, dtype=np.uint8, parts=3):
    """A picture with a brighter corner at its upper left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*shape, parts), value // 4, dtype=dtype)
    pixels[:4, :3] = value
    if parts == 3 and dtype == np.uint16:
        raise ValueError("PIL writes none")
    Image.fromarray(pixels if parts == 3 else pixels[..., 0]).save(path)
    return path


def write_set(root, names="abcd", *, images=".png", **more):
    for n, name in enumerate(names):
        shape = (12 + n, 10)
        save(root / "images" / f"{name}{images}", shape, **more)
        mask = np.zeros(shape, dtype=np.uint8)
        mask[:4, :3] = 255
        (root / "labels").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "labels" / f"{name}.png")
    return root


def facts_of(root, labels=CELL):
    found = find_dataset(root, labels=labels)
    return found, survey(found.cases, labels, len(found.channels)).fingerprint


@pytest.mark.parametrize("images", [".png", ".jpg", ".tif", ".bmp"])
def test_images_in_colours_have_three_named_channels(tmp_path, images):
    found = find_dataset(write_set(tmp_path, images=images), labels=CELL)
    assert found.channels == ("red", "green", "blue")
    assert [f for f in check_dataset(found) if f.refuses] == []


def test_grey_images_have_one_and_labels_json_may_name_them(tmp_path):
    write_set(tmp_path, parts=1)
    assert find_dataset(tmp_path).channels == ("image",)
    (tmp_path / "labels.json").write_text(json.dumps({"channels": ["brightfield"]}))
    assert find_dataset(tmp_path).channels == ("brightfield",)


def test_a_table_of_images_and_nnunets_naming(tmp_path):
    write_set(tmp_path)
    rows = [f"{n},images/{n}.png,labels/{n}.png" for n in "abcd"]
    (tmp_path / "cases.csv").write_text("\n".join(["case_id,image,label", *rows]))
    assert find_dataset(tmp_path / "cases.csv").channels == ("red", "green", "blue")
    raw = tmp_path / "raw"
    for n in "ab":
        save(raw / "imagesTr" / f"{n}_0000.png")
        save(raw / "labelsTr" / f"{n}.png", parts=1)
    said = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"cell": 200, "other": 50}}
    (raw / "dataset.json").write_text(json.dumps(said))
    assert find_dataset(raw).channels == ("R", "G", "B")
    assert [scan.case_id for scan in find_scans(raw / "imagesTr", channels=3)] == ["a", "b"]


def test_grey_among_colours_is_told(tmp_path):
    write_set(tmp_path)
    save(tmp_path / "images" / "b.png", (13, 10), parts=1)
    refused = [f for f in check_dataset(find_dataset(tmp_path, labels=CELL)) if f.refuses]
    assert [(f.case, f.code) for f in refused] == [("b", "IMG-CHANNELS")]
    assert "either grey (1 channel) or RGB (3 channels)" in refused[0].advice
    with pytest.raises(Refused, match="3 channels, and 1 are needed"):
        read_images([tmp_path / "images" / "a.png"], channels=1)


def test_pictures_named_after_a_volume_beside_are_nobodys_scans(tmp_path):
    write_image(tmp_path / "scan.nii.gz")
    save(tmp_path / "scan_view.png")
    assert [scan.case_id for scan in find_scans(tmp_path)] == ["scan"]
    assert list(find_masks(tmp_path)) == ["scan"]
    (tmp_path / "scan.nii.gz").unlink()
    assert [scan.case_id for scan in find_scans(tmp_path)] == ["scan_view"]
    assert list(find_masks(tmp_path)) == ["scan_view"]


def test_a_set_of_pictures_stays_one_beside_a_stray_volume(tmp_path):
    write_set(tmp_path)
    for folder in ("images", "labels"):
        write_image(tmp_path / folder / "atlas.nii.gz")
    assert find_dataset(tmp_path).case_ids == ("a", "atlas", "b", "c", "d")


@pytest.mark.parametrize(
    ("dtype", "value", "top"),
    [(np.uint8, 200, 255), (np.uint16, 4000, 4095), (np.uint16, 60_000, 65_535)],
)
def test_images_are_brought_to_0_to_1_by_the_range_of_their_type(tmp_path, dtype, value, top):
    write_set(tmp_path, dtype=dtype, value=value, parts=1)
    found, facts = facts_of(tmp_path)
    plan = make_plan(facts, found.channels, CELL, LAPTOP)
    assert (plan.dimensions, plan.patch[2], plan.spacing) == (2, 1, (1, 1, 1))
    seen = plan.prepare(read_images(found.cases[0].images).volume).voxels
    assert seen.max() == pytest.approx(value / top)
    assert seen.min() == pytest.approx(value // 4 / top)


def test_8_and_16_bits_in_one_set_are_scaled_by_their_own_mean(tmp_path):
    write_set(tmp_path, parts=1)
    save(tmp_path / "images" / "a.png", (12, 10), parts=1, dtype=np.uint16, value=60_000)
    found, facts = facts_of(tmp_path)
    plan = make_plan(facts, found.channels, CELL, LAPTOP)
    assert [i.scheme for i in plan.intensities] == ["image"]


def test_images_are_brought_to_one_size_and_their_masks_too(tmp_path):
    found, facts = facts_of(write_set(tmp_path))
    fixed = {"size": (20, 24, 1), "patch": (20, 24, 1), "features": (4, 8)}
    fixed |= {"strides": ((2, 2, 1),), "kernels": ((3, 3, 1), (3, 3, 1)), "dimensions": 2}
    plan = make_plan(facts, found.channels, CELL, LAPTOP, fixed=fixed)
    assert plan.spacing == pytest.approx((10 / 20, 13.5 / 24, 1))
    cases = PreparedCases(tmp_path / "cache", plan)
    for case in found.cases:
        prepared = cases.get(case)
        assert prepared.image.shape == (3, 20, 24, 1)
        # RAS runs to the right and the front, a picture's columns and rows to the left and back.
        assert prepared.label.argmax() > 0
        assert prepared.label[-6:, -5:].all()
        np.testing.assert_allclose(prepared.image[:, -1, -1, 0], 200 / 255, atol=0.02)
    kept = plan.model_copy(update={"size": None, "spacing": (1.0, 1.0, 1.0)})
    others = PreparedCases(tmp_path / "cache", kept)
    assert others.path_of(found.cases[0]) != cases.path_of(found.cases[0])
    assert Plan(**plan.model_dump()) == plan


def test_a_size_and_a_spacing_are_not_wanted_together(tmp_path):
    found, facts = facts_of(write_set(tmp_path))
    fixed = {"size": (16, 16, 1), "spacing": (1, 1, 1)}
    with pytest.raises(ConfigError, match=r"plan\.size or plan\.spacing"):
        make_plan(facts, found.channels, CELL, LAPTOP, fixed=fixed)


def test_each_channel_is_judged_by_its_own_range(tmp_path):
    write_set(tmp_path, parts=1)
    for path in list((tmp_path / "images").iterdir()):
        rows = np.asarray(Image.open(path)).shape[0]
        path.rename(path.with_name(f"{path.stem}_0000.png"))
        other = path.with_name(f"{path.stem}_0001.png")
        save(other, (rows, 10), parts=1, dtype=np.uint16, value=60_000)
    found, facts = facts_of(tmp_path)
    plan = make_plan(facts, found.channels, CELL, LAPTOP)
    assert [(i.scheme, i.sd) for i in plan.intensities][1] == ("set", 65_535)
    assert plan.intensities[0].scheme == "image"


def test_numbered_photographs_are_no_channels_of_one(tmp_path):
    for number in range(3):
        save(tmp_path / f"img_{number:04d}.png")
    found = [scan.case_id for scan in find_scans(tmp_path, channels=3)]
    assert found == ["img_0000", "img_0001", "img_0002"]
    for path in tmp_path.iterdir():
        save(path, parts=1)
    (one,) = find_scans(tmp_path, channels=3)
    assert len(one.images) == 3
