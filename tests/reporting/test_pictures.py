"""Pictures show the right plane the right way round, in true proportions, and never half a file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from volunet.errors import ConfigError, GeometryError, WriteError
from volunet.reporting.pictures import draw_curves, draw_overlay
from volunet.reporting.planes import cut_panels, grey_window
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume

SHAPE, SPACING = (30, 24, 12), (1.0, 1.0, 4.0)
ORGANS = Labels(structures={"liver": 1, "spleen": 7}, colours={"spleen": "#00ff00"})
HEADER = "step,seconds,loss,learning_rate,grad_norm,val_dice\n"


@pytest.fixture
def scan() -> Volume:
    """Grey everywhere, with a light that is brighter to the right, the front and the head."""
    i, j, k = np.indices(SHAPE)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-15, 5, 100)
    return Volume((i + 100 * j + 10000 * k)[None].astype("f4"), Grid(SHAPE, affine))


@pytest.fixture
def mask(scan) -> Volume:
    voxels = np.zeros((1, *SHAPE), dtype="u1")
    voxels[0, 20:26, 10:16, 4:7] = 1
    voxels[0, 4:8, 12:15, 4:6] = 7
    return scan.with_voxels(voxels)


@given(st.sampled_from(["RAS", "LPS", "PIR", "SAL", "ILP"]))
def test_the_patients_right_is_on_the_left_whatever_the_file_says(orientation):
    voxels = np.indices(SHAPE)
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]))
    for axis in range(3):
        turned = Volume(voxels[axis][None], grid).reoriented(orientation)
        empty = turned.with_voxels(np.zeros_like(turned.voxels))
        for panel in cut_panels(turned, empty, None, ORGANS.values):
            along_rows, along_columns = np.diff(panel.image, axis=0), np.diff(panel.image, axis=1)
            # Values grow to the patient's right, front and head: to the left and up in the panel.
            assert (along_rows == (-1 if axis == panel.view.rows else 0)).all()
            assert (along_columns == (-1 if axis == panel.view.columns else 0)).all()


def test_letters_name_the_sides(scan, mask):
    views = {p.view.name: p.view.letters for p in cut_panels(scan, mask, None, ORGANS.values)}
    assert views == {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}


def test_planes_show_every_structure_and_say_where_they_lie(scan, mask):
    axial, coronal, sagittal = cut_panels(scan, mask, None, ORGANS.values)
    assert set(np.unique(axial.labels)) == set(np.unique(coronal.labels)) == {0, 1, 7}
    assert (axial.place_mm, coronal.place_mm) == (100 + 4 * 4, 5 + 12)
    assert sagittal.place_mm in (-15 + 4, -15 + 20)


def test_panels_are_in_true_proportions(scan, mask):
    for panel in cut_panels(scan, mask, mask, ORGANS.values):
        rows, columns = panel.image.shape
        view = panel.view
        assert panel.size_mm == (columns * SPACING[view.columns], rows * SPACING[view.rows])
        assert panel.reference is not None


def test_an_empty_mask_shows_the_centre_of_the_image(scan):
    axial, *_ = cut_panels(scan, scan.with_voxels(np.zeros((1, *SHAPE), "u1")), None, (1,))
    assert axial.image.shape == (24, 30)
    assert axial.place_mm == 100 + 6 * 4


def test_grey_leaves_the_air_out():
    voxels = np.full((1, 20, 20, 20), -1024.0)
    voxels[0, 5:15, 5:15, 5:15] = np.linspace(0, 100, 1000).reshape(10, 10, 10)
    scan = Volume(voxels, Grid((20, 20, 20), np.eye(4)))
    panels = cut_panels(scan, scan.with_voxels((voxels > 0).astype("u1")), None, (1,))
    low, high = grey_window(panels)
    assert -1 < low < 10
    assert 90 < high <= 100


def test_a_flat_image_has_a_window():
    flat = Volume(np.ones((1, 4, 4, 4)), Grid((4, 4, 4), np.eye(4)))
    assert grey_window(cut_panels(flat, flat, None, (1,))) == (0.0, 1.0)


def test_the_filled_prediction_and_the_outlined_reference_are_in_the_picture(scan, mask, tmp_path):
    draw_overlay(scan, mask, ORGANS, tmp_path / "a.png", reference=mask)
    seen = imread(tmp_path / "a.png")[..., :3]
    red, green, blue = np.moveaxis(seen, -1, 0)
    filled = (green > 1.5 * red) & (green > 1.5 * blue) & (green > 0.3)
    assert filled.any()
    # The spleen (7) lies to the patient's left: on the right of the axial panel.
    panel = filled[: int(0.9 * len(seen)), : seen.shape[1] // 3]
    assert np.argwhere(panel)[:, 1].min() > panel.shape[1] / 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_masks_on_another_grid_are_refused(scan, mask, tmp_path):
    moved = Volume(mask.voxels, Grid(SHAPE, np.diag([1, 1, 5, 1])))
    with pytest.raises(GeometryError, match="Resample"):
        draw_overlay(scan, moved, ORGANS, tmp_path / "a.png")


def test_a_folder_that_is_not_there_is_told(scan, mask, tmp_path):
    with pytest.raises(WriteError, match="Make it first"):
        draw_overlay(scan, mask, ORGANS, tmp_path / "none" / "a.png")


def test_curves_are_drawn_with_and_without_validation(tmp_path):
    rows = [f"{n},{n * 2.0},{1 / (n + 1)},0.001,1.0," for n in range(200)]
    (tmp_path / "h.csv").write_text(HEADER + "\n".join(rows))
    draw_curves(tmp_path / "h.csv", tmp_path / "plain.png")
    rows[50] += "0.7"
    rows[150] += "0.8"
    rows[60] = "60,120.0,nan,0.001,nan,"
    (tmp_path / "h.csv").write_text(HEADER + "\n".join(rows))
    draw_curves(tmp_path / "h.csv", tmp_path / "validated.png")
    plain, validated = (imread(tmp_path / f"{n}.png") for n in ("plain", "validated"))
    assert plain.shape == validated.shape
    assert not np.array_equal(plain, validated)


@pytest.mark.parametrize("scores", [("", ""), ("31.5", "33.25"), ("nan", "200")])
def test_curves_of_estimates_have_decibels_instead_of_dice(tmp_path, scores):
    rows = [f"{n},{n * 2.0},{1 / (n + 1)},0.001,1.0," for n in range(200)]
    rows[50] += scores[0]
    rows[150] += scores[1]
    for column in ("val_psnr_db", "val_dice"):
        header = HEADER.replace("val_dice", column)
        (tmp_path / "h.csv").write_text(header + "\n".join(rows))
        draw_curves(tmp_path / "h.csv", tmp_path / f"{column}.png")
    decibels, dice = (imread(tmp_path / f"{n}.png") for n in ("val_psnr_db", "val_dice"))
    assert decibels.shape == dice.shape
    different = np.argwhere((decibels != dice).any(axis=-1))
    assert different.size  # what the axis is called
    assert different[:, 0].min() > 0.4 * len(dice)  # and nothing of the loss above it
    assert (different[:, 1] < 0.1 * dice.shape[1]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [(HEADER, "no row"), ("step,loss\n1,2\n", "lacks"), (None, "cannot be read")],
)
def test_a_history_that_cannot_be_drawn_is_told(tmp_path, text, message):
    if text is not None:
        (tmp_path / "h.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        draw_curves(tmp_path / "h.csv", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
