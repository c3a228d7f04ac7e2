"""Coefficients shown are those that gates multiply by; their means are over the right voxels."""

from __future__ import annotations

import json
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from benchmarks.gates import (
    GateMap,
    cut_window,
    enlarged,
    figures_of,
    gate_maps,
    load_gated,
    main,
    read_prepared,
)
from volunet.errors import ModelError
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.models.blocks import AttentionGate
from volunet.packaging.model_file import Training, save_model
from volunet.planning.fingerprint import CaseFacts, Fingerprint
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.space.box import Box
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.labels_file import read_labels
from volunet.space.volume import Volume

SAMPLE = Path(__file__).parents[2] / "sample_data" / "ct"
SCAN, MASK = (SAMPLE / kind / "ct_01.nii.gz" for kind in ("images", "labels"))
PLAN = Plan(
    channels=("CT",),
    labels=read_labels(SAMPLE / "labels.json"),
    spacing=(3, 3, 3),
    patch=(16, 16, 8),
    intensities=(Intensity(scheme="image"),),
    features=(4, 6, 8),
    strides=((2, 2, 1), (2, 2, 2)),
    kernels=((3, 3, 3),) * 3,
    attention=True,
    batch=1,
)
SLICES = PLAN.model_copy(
    update={
        "dimensions": 2,
        "neighbours": 1,
        "patch": (16, 16, 1),
        "strides": ((2, 2, 1),) * 2,
        "kernels": ((3, 3, 1),) * 3,
    }
)


def keep_model(folder: Path, plan: Plan, *, gates_say: float | None = None) -> Path:
    """A model of random weights, or one whose gates say the same of every voxel."""
    torch.manual_seed(0)
    network = plan.build_network()
    for part in network.modules() if gates_say is not None else ():
        if isinstance(part, AttentionGate):
            torch.nn.init.zeros_(part.score.weight)
            torch.nn.init.constant_(part.score.bias, log(gates_say / (1 - gates_say)))
    facts = CaseFacts(shape=(9, 9, 9), spacing=(1, 1, 1), channels=(), volumes_ml={})
    save_model(
        folder,
        network.state_dict(),
        name="gated",
        plan=plan,
        fingerprint=Fingerprint(cases={"a": facts}),
        training=Training(cases=1, validation_dice={}),
    )
    return folder


@pytest.mark.parametrize("plan", [PLAN, SLICES], ids=["volume", "slices"])
def test_maps_are_what_each_gate_multiplies_by(tmp_path, plan):
    plan, engine = load_gated(keep_model(tmp_path, plan))
    window = cut_window(*read_prepared(plan, [SCAN], MASK), plan)
    passed_on = []

    def note(_gate, given, passed):
        passed_on.insert(0, (given[0][0].numpy(), passed[0].numpy()))

    for part in engine.network.modules():
        if isinstance(part, AttentionGate):
            part.register_forward_hook(note)
    maps = gate_maps(engine, window, plan)
    assert len(maps) == len(passed_on) == 2
    for gate, (skip, passed) in zip(maps, passed_on, strict=True):
        assert gate.shape == skip.shape[1:]
        assert gate.voxels.shape == plan.patch
        assert 0 <= gate.voxels.min() < gate.voxels.max() <= 1
        steps = (p // n for p, n in zip(plan.patch, gate.shape, strict=True))
        own = gate.voxels[tuple(slice(None, None, step) for step in steps)]
        np.testing.assert_allclose(skip * own, passed, atol=1e-6)


def test_a_window_shows_the_labelled_voxels_where_they_lie(tmp_path):
    prepared, index = read_prepared(PLAN, [SCAN], MASK)
    window = cut_window(prepared, index, PLAN)
    np.testing.assert_array_equal(window.seen[0][window.part.index], window.image.voxels)
    start = np.rint(prepared.grid.to_index(window.image.grid.affine[:3, 3])).astype(int)
    middle = np.argwhere(index > 0).mean(axis=0)
    np.testing.assert_allclose(start + np.array(PLAN.patch) // 2, middle, atol=0.51)
    np.testing.assert_array_equal(window.index, index[Box(start, start + PLAN.patch).index])


def test_neighbours_are_those_of_the_scan():
    prepared, index = read_prepared(SLICES, [SCAN], MASK)
    window = cut_window(prepared, index, SLICES)
    assert window.seen.shape[2:] == (16, 16, 3)
    first, second, third = np.rint(prepared.grid.to_index(window.image.grid.affine[:3, 3]))
    at = np.index_exp[:, int(first) :, int(second) :, int(third) - 1 :]
    np.testing.assert_array_equal(window.seen[0], prepared.voxels[at][:, :16, :16, :3])


def test_a_scan_smaller_than_the_patch_is_padded_and_the_padding_is_not_counted():
    small = Volume(np.ones((1, 10, 16, 3), dtype=np.float32), Grid((10, 16, 3), np.eye(4)))
    window = cut_window(small, None, PLAN)
    assert (window.seen.shape, window.seen.sum()) == ((1, 1, 16, 16, 8), 480)
    assert window.part == Box((3, 0, 2), (13, 16, 5))
    maps = gate_maps(TorchEngine(PLAN.build_network(), device="cpu"), window, PLAN)
    assert {gate.voxels.shape for gate in maps} == {(10, 16, 3)}


def test_a_coarse_map_is_repeated_and_averaged_by_hand():
    own = torch.tensor([0.0, 0.2, 0.6, 1.0]).reshape(1, 1, 4, 1, 1)
    voxels = enlarged(own, (8, 1, 1), Box((1, 0, 0), (8, 1, 1)))  # 0, .2, .2, .6, .6, 1, 1
    index = np.array([1, 1, 0, 2, 3, 0, 0]).reshape(7, 1, 1)  # 3: nobody judged
    labels = Labels(structures={"a": 1, "b": 2}, ignore=9)
    row = figures_of(1, GateMap((4, 1, 1), voxels), index, labels)
    assert row.inside == pytest.approx((0.0 + 0.2 + 0.6) / 3)
    assert row.outside == pytest.approx((0.2 + 1.0 + 1.0) / 3)
    assert (row.mean, row.below) == (pytest.approx(3.6 / 7), pytest.approx(1 / 7))
    assert row.sd == pytest.approx(np.std([0, 0.2, 0.2, 0.6, 0.6, 1, 1]))


def test_gates_that_say_the_same_everywhere_are_told_as_such(tmp_path, capsys):
    model = keep_model(tmp_path / "model", PLAN, gates_say=0.25)
    picture, facts = tmp_path / "gates.png", tmp_path / "gates.json"
    files = ["--image", SCAN, "--label", MASK, "--out", picture, "--json", facts]
    main(list(map(str, ["--model", model, *files])))
    told = json.loads(facts.read_text())
    assert [(row["stage"], row["shape"]) for row in told["gates"]] == [
        (0, [16, 16, 8]),
        (1, [8, 8, 8]),
    ]
    for row in told["gates"]:
        values = [row[name] for name in ("mean", "inside", "outside", "sd", "below")]
        assert values == pytest.approx([0.25, 0.25, 0.25, 0, 0], abs=1e-6)
    assert sum(told["structure_voxels"].values()) > 0
    assert "| 1 | 8 x 8 x 8 | 0.250 | 0.000 | 0.000 | 0.250 | 0.250 |" in capsys.readouterr().out
    assert imread(picture).std() > 0.05
    assert "ct_01" not in facts.read_text()


def test_without_a_label_the_middle_is_shown_and_nothing_is_inside(tmp_path, capsys):
    model = keep_model(tmp_path / "model", SLICES)
    main(["--model", str(model), "--image", str(SCAN), "--out", str(tmp_path / "gates.png")])
    assert capsys.readouterr().out.count("|  |  |") == 2
    assert (tmp_path / "gates.png").stat().st_size > 1000


def test_a_model_without_gates_is_named(tmp_path, capsys):
    model = keep_model(tmp_path, PLAN.model_copy(update={"attention": False}))
    with pytest.raises(ModelError, match="has no attention gates"):
        load_gated(model)
    with pytest.raises(SystemExit):
        main(["--model", str(model), "--image", str(SCAN), "--out", str(tmp_path / "gates.png")])
    assert "has no attention gates" in capsys.readouterr().err
    assert not (tmp_path / "gates.png").exists()
