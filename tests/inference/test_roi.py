"""A region of interest limits windows and labels, and loses nothing that was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.inference.less import CT, CT_SET, LESS, Bright, ball, ct, plan_of, segmenter
from volunet.errors import ConfigError
from volunet.findings import Refused
from volunet.planning.fingerprint import Fingerprint
from volunet.space.grid import Grid
from volunet.space.volume import Volume


def scan() -> Volume:
    """A body with a stone of 200 HU."""
    volume = ct((80, 70, 60), body=((40, 35, 30), 60))
    volume.voxels[0][ball(volume.grid, (20, 35, 30), 9)] = 200
    return volume


def model():
    return segmenter(plan_of(CT, patch=(24, 24, 24)), CT_SET, LESS, Bright(-0.837))


def test_a_named_structure_is_found_whole_with_fewer_windows_and_no_other_is_kept():
    whole, some = model()(scan()), model().only(["stone"])(scan())
    np.testing.assert_array_equal(some.labels.voxels, np.where(whole.labels.voxels == 5, 5, 0))
    assert (some.labels.voxels == 5).any()
    assert np.prod(some.how["plan_shape"]) < np.prod(whole.how["plan_shape"]) / 4
    assert some.how["windows"] < whole.how["windows"]


def test_a_speck_far_away_does_not_blow_up_the_box_but_a_small_part_does():
    known = {"stone": 4.0}
    case = next(iter(CT_SET.cases.values())).model_copy(update={"volumes_ml": known})
    trained = replace(model(), fingerprint=Fingerprint(cases={"1": case}))
    volume = scan()
    volume.voxels[0, 70, 35, 30] = 200  # 0.008 ml, below a hundredth of 4 ml
    sizes = [np.prod(trained.only(["stone"])(volume).how["plan_shape"])]
    volume.voxels[0, 68:71, 33:36, 28:31] = 200
    sizes.append(np.prod(trained.only(["stone"])(volume).how["plan_shape"]))
    assert sizes[0] < sizes[1]
    assert sizes[0] == np.prod(trained.only(["stone"])(scan()).how["plan_shape"])


def test_a_name_of_a_region_stands_for_all_it_unites():
    whole, some = model()(scan()), model().only(["both"])(scan())
    np.testing.assert_array_equal(some.labels.voxels, whole.labels.voxels)


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"no 'liver'; it finds organ, stone, both"):
        model().only(["stone", "liver"])


def test_a_structure_that_is_not_there_is_a_finding_and_an_empty_mask():
    found = model().only(["stone"])(ct(body=((30, 30, 30), 40)))
    assert [f.code for f in found.findings if "ROI" in f.code] == ["ROI-ABSENT"]
    assert "stone" in found.findings[0].message
    assert not found.labels.voxels.any()
    assert found.labels.voxels.dtype == np.uint8


def long_scan() -> Volume:
    """A stone along all of a body, of which a quick look sees only the middle: the rest is dim."""
    volume = ct((60, 120, 60), body=((30, 60, 30), 160))
    volume.voxels[0, 26:34, 10:110, 26:34] = 50
    volume.voxels[0, 26:34, 60:72, 26:34] = 200
    return volume


def known_by(windows) -> float:
    """A number that tells where a window stands on the scan above."""
    return float((windows.sum(dim=(0, 1, 2, 4)) * torch.arange(windows.shape[3])).sum())


class Brighter(Bright):
    """Takes what is dim for stone only where windows stand on a place that no quick look takes."""

    def __init__(self, quick: tuple[float, ...]) -> None:
        super().__init__(-0.837)
        self.quick = quick

    def forward(self, windows):
        logits = super().forward(windows)
        if known_by(windows) not in self.quick:
            logits[:, 2] += 10 * (windows[:, 0] > 0.05)
        return logits


class Listens(Bright):
    """Keeps by what each window that it sees is known."""

    def __init__(self) -> None:
        super().__init__(-0.837)
        self.heard: list[float] = []

    def forward(self, windows):
        self.heard.append(known_by(windows))
        return super().forward(windows)


def test_a_structure_that_goes_on_beyond_the_box_is_told():
    plan, effort = plan_of(CT, patch=(24, 24, 24)), LESS
    listens = Listens()
    segmenter(plan, CT_SET, effort.quick, listens)(long_scan())
    only = segmenter(plan, CT_SET, effort, Brighter(tuple(listens.heard))).only(["stone"])
    found = only(long_scan())
    assert [f.code for f in found.findings if "ROI" in f.code] == ["ROI-CUT"]
    rows = np.flatnonzero((found.labels.voxels[0] == 5).any(axis=(0, 2)))
    assert 8 < len(rows) < 100


def test_what_the_quick_look_does_not_find_is_not_in_the_mask_either():
    volume = long_scan()
    volume.voxels[volume.voxels == 200] = 55  # dim, and still tells windows apart
    plan, effort, listens = plan_of(CT, patch=(24, 24, 24)), LESS, Listens()
    segmenter(plan, CT_SET, effort.quick, listens)(volume)
    sees = segmenter(plan, CT_SET, effort, Brighter(tuple(listens.heard)))
    assert (sees(volume).labels.voxels == 5).any()
    found = sees.only(["organ", "stone"])(volume)
    assert [f.code for f in found.findings if "ROI" in f.code] == ["ROI-ABSENT"]
    assert set(np.unique(found.labels.voxels)) == {0, 1}


def test_a_structure_at_the_edge_of_the_scan_is_not_cut():
    volume = scan()
    volume.voxels[0, :12, 30:40, 25:35] = 200
    found = model().only(["stone"])(volume)
    assert not [f for f in found.findings if "ROI" in f.code]


def test_one_of_two_structures_is_found_and_the_other_is_said_to_be_absent():
    found = model().only(["stone", "organ"])(ct(body=((30, 30, 30), 40)))
    assert "ROI-ABSENT" in {f.code for f in found.findings}
    assert set(np.unique(found.labels.voxels)) == {0, 1}


@pytest.mark.parametrize("orientation", ["RAS", "LPI"])
def test_a_mask_on_any_grid_limits_labels_to_its_box_and_a_margin(orientation):
    volume = scan()
    grid = Grid((20, 20, 20), np.diag([5.0, 5.0, 5.0, 1.0])).reoriented(orientation)
    mask = Volume(np.zeros((1, *grid.shape), dtype=np.uint8), grid)
    world = grid.to_world(np.stack(np.indices(grid.shape), axis=-1))
    mask.voxels[0] = (np.abs(world - [40, 70, 60]) < 10).all(axis=-1)
    whole, some = model()(volume), model().only(mask)(volume)
    world = volume.grid.to_world(np.stack(np.indices(volume.grid.shape), axis=-1))
    away = np.abs(world - [40, 70, 60]).max(axis=-1)
    inside, outside = away < 12, away > 12 + 8 + 4
    np.testing.assert_array_equal(some.labels.voxels[0][inside], whole.labels.voxels[0][inside])
    assert not some.labels.voxels[0][outside].any()
    assert some.how["windows"] < whole.how["windows"] / 3


def test_a_mask_beside_the_scan_is_refused_and_an_empty_one_is_no_mask():
    grid = Grid((4, 4, 4), np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 900)
    with pytest.raises(Refused, match="ROI-OUTSIDE"):
        model().only(Volume(np.ones((1, 4, 4, 4), dtype=np.uint8), grid))(scan())
    with pytest.raises(ConfigError, match="empty"):
        model().only(Volume(np.zeros((1, 4, 4, 4), dtype=np.uint8), grid))


def test_a_region_and_a_deadline_go_together():
    whole, some = model().only(["stone"])(scan()), model().only(["stone"]).by(60)(scan())
    np.testing.assert_array_equal(some.labels.voxels, whole.labels.voxels)


def test_another_region_makes_another_model_to_whoever_keeps_its_masks():
    names = {model().identity, model().only(["stone"]).identity, model().only(["organ"]).identity}
    assert len(names) == 3
    assert model().only(["both"]).identity == model().only(["organ", "stone"]).identity


def test_no_name_at_all_is_a_mistake_and_no_mask_of_background():
    with pytest.raises(ConfigError, match="one structure at least"):
        model().only([])
