"""Imported models of nnU-Net v2 make the masks that nnU-Net makes of the same weights."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.golden.nnunet_cases import CASES, plans_of
from tests.packaging.nnunet_model import (
    checkpoint_of,
    golden,
    scan_of,
    state_of,
    write_folder,
)
from volunet.api.models import try_engines
from volunet.errors import ModelError
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.models.nnunet_keys import translate
from volunet.packaging.import_nnunet import import_nnunet
from volunet.packaging.model_file import load_model, load_weights, read_model_file
from volunet.packaging.nnunet_plans import convert_plans

NAMES = sorted(CASES)


def plan_of(name: str):
    case = CASES[name]
    return convert_plans(case.plans, case.dataset, case.configuration, case.mirror or ())


def in_float32(network):
    return TorchEngine(network.module, device="cpu", dtype=torch.float32)


def segmenter_for(folder: Path, name: str, tmp_path: Path):
    import_nnunet(folder, tmp_path / "model")
    segment = load_model(tmp_path / "model", device=torch.device("cpu"), make_engine=in_float32)
    return segment.with_effort(replace(segment.effort, mirror=segment.plan.mirror))


@pytest.mark.parametrize("name", NAMES)
def test_the_network_gives_the_logits_of_the_library(name):
    network = plan_of(name).build_network().eval()
    network.load_state_dict(translate(state_of(name), network))
    size = (1,) * (3 - len(golden(name)["window_shape"])) + tuple(golden(name)["window_shape"])
    window = torch.from_numpy(CASES[name].scan[:, : size[0], : size[1], : size[2]])
    with torch.inference_mode():
        logits = network((window[None] - 100) / 50)[0].numpy()
    expected = golden(name)["logits"]
    seen = logits[:, ::2, ::2, ::2].reshape(expected.shape)
    np.testing.assert_allclose(seen, expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_prepared_scan_is_that_of_the_preprocessor(name):
    seen = plan_of(name).prepare(scan_of(name))
    assert seen.voxels.shape == tuple(golden(name)["prepared_shape"])
    np.testing.assert_allclose(seen.voxels[:, ::3, ::3, ::3], golden(name)["prepared"], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_those_of_the_predictor_from_file_to_label_map(name, tmp_path):
    segment = segmenter_for(write_folder(tmp_path / "trained", name), name, tmp_path)
    labels = segment(scan_of(name)).labels
    # nnU-Net adds logits up in float16, which decides voxels that are nearly between two classes.
    for kind, least in (("labels", 0.998), ("precise", 0.9999)):
        expected = golden(name)[kind].T
        union = (labels.voxels[0] > 0) | (expected > 0)
        assert (labels.voxels[0] == expected)[union].mean() > least
    assert labels.voxels.dtype == np.uint8


def test_a_model_in_strips_gives_the_same_mask(tmp_path):
    segment = segmenter_for(write_folder(tmp_path / "trained", "thick"), "thick", tmp_path)
    whole = segment(scan_of("thick")).labels.voxels
    parts = segment.with_effort(replace(segment.effort, strips=3))(scan_of("thick")).labels.voxels
    np.testing.assert_array_equal(parts, whole)


def test_folds_become_an_ensemble_and_some_can_be_chosen(tmp_path):
    folder = write_folder(tmp_path / "trained", "thick")
    import_nnunet(folder, tmp_path / "both")
    import_nnunet(folder, tmp_path / "one", folds=["1"])
    both, one = (read_model_file(tmp_path / name) for name in ("both", "one"))
    assert len(both.weights) == 2
    assert list(one.weights) == list(both.weights)[1:]
    for kept in load_weights(tmp_path / "both", both):
        assert all(value.dtype == torch.float32 for value in kept.values())


def test_the_engines_of_an_ensemble_are_told_by_its_first_network(tmp_path):
    import_nnunet(write_folder(tmp_path / "trained", "thick"), tmp_path / "both")
    choice = try_engines(tmp_path / "both", device="cpu")
    assert choice.rows[choice.chosen].verdict == "chosen"


def test_regions_that_overlap_write_their_values_in_order(tmp_path):
    plan = plan_of("regions")
    assert plan.order == (1, 3, 2)
    assert plan.labels.structures == {"1": 1, "2": 2, "necrosis": 3}
    assert plan.labels.regions == {"organ": (1, 2, 3), "lesion": (2, 3), "necrosis": (3,)}
    assert plan.way_back(scan_of("regions").grid).regions == (1, 3, 2)


def test_an_imported_model_says_what_it_was_trained_on(tmp_path):
    folder = write_folder(tmp_path / "trained", "slices")
    facts = {"spacings": [[3.0, 1.0, 0.75]], "shapes_after_crop": [[30, 20, 10]]}
    (folder / "dataset_fingerprint.json").write_text(json.dumps(facts))
    (folder / "fold_0" / "validation").mkdir()
    summary = {"mean": {"1": {"Dice": 0.75}, "2": {"Dice": 0.5}}}
    (folder / "fold_0" / "validation" / "summary.json").write_text(json.dumps(summary))
    model = read_model_file(import_nnunet(folder, tmp_path / "model").parent)
    assert model.training.validation_dice == {"edge": 0.75, "core": 0.5}
    assert str(model.training) == "3 cases, 2 epochs of nnUNetTrainer, fold 0"
    (case,) = model.fingerprint.cases.values()
    assert (case.spacing, case.shape) == ((0.75, 1.0, 3.0), (10, 20, 30))
    segment = load_model(tmp_path / "model", device=torch.device("cpu"))
    assert [f.code for f in segment(scan_of("slices")).findings] == []


def test_a_structure_without_a_score_is_left_out_of_what_a_model_says(tmp_path):
    """nnU-Net writes NaN for a structure that no case held out has."""
    folder = write_folder(tmp_path / "trained", "slices")
    (folder / "fold_0" / "validation").mkdir()
    summary = '{"mean": {"1": {"Dice": NaN}, "2": {"Dice": 0.5}}}'
    (folder / "fold_0" / "validation" / "summary.json").write_text(summary)
    model = read_model_file(import_nnunet(folder, tmp_path / "model").parent)
    assert model.training.validation_dice == {"core": 0.5}


def test_without_a_fingerprint_a_scan_is_said_to_be_unjudged(tmp_path):
    segment = segmenter_for(write_folder(tmp_path / "trained", "slices"), "slices", tmp_path)
    assert [f.code for f in segment(scan_of("slices")).findings] == ["MDL-UNJUDGED"]


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("opened"),))


def test_a_checkpoint_that_could_run_code_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = checkpoint_of("slices", init_args=Bomb())
    folder = write_folder(tmp_path / "trained", "slices", checkpoint=bomb)
    with pytest.raises(ModelError, match=r"could run code"):
        import_nnunet(folder, tmp_path / "model")
    assert not (tmp_path / "opened").exists()
    assert not (tmp_path / "model").exists()


def test_a_damaged_checkpoint_is_told(tmp_path):
    folder = write_folder(tmp_path / "trained", "slices")
    path = folder / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"damaged"):
        import_nnunet(folder, tmp_path / "model")


def test_a_flipped_byte_of_a_weight_is_told(tmp_path):
    """Torch does not look at the checksums of its archives."""
    folder = write_folder(tmp_path / "trained", "slices")
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        weight = max(archive.infolist(), key=lambda part: part.file_size)
    content[weight.header_offset + weight.file_size // 2] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"checksum of {weight.filename} .*Get it again"):
        import_nnunet(folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_that_are_no_numbers_are_told(tmp_path):
    weights = state_of("slices")
    name = next(n for n in weights if n.endswith("encoder.stages.1.0.convs.0.conv.weight"))
    weights[name] = torch.full_like(weights[name], torch.inf)
    bad = checkpoint_of("slices", network_weights=weights)
    folder = write_folder(tmp_path / "trained", "slices", checkpoint=bad)
    with pytest.raises(ModelError, match=r"fold 0 cannot be used: .*not finite.*another"):
        import_nnunet(folder, tmp_path / "model")


def test_a_checkpoint_whose_pickle_is_damaged_is_told(tmp_path):
    """Of what is damaged inside, unpickling raises anything, such as a KeyError here."""
    folder = write_folder(tmp_path / "trained", "slices")
    with zipfile.ZipFile(folder / "fold_0" / "checkpoint_final.pth", "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02h\x05.")
        file.writestr("archive/version", "3")
    with pytest.raises(ModelError, match="may be damaged"):
        import_nnunet(folder, tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dataset.json", {"numTraining": None}),
        ("dataset_fingerprint.json", {"shapes_after_crop": [[3, 2, 1]], "spacings": []}),
        ("plans.json", {"configurations": ["2d"]}),
    ],
)
def test_facts_that_are_not_as_nnunet_writes_them_are_told(tmp_path, name, says):
    folder = write_folder(tmp_path / "trained", "slices")
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | says))
    with pytest.raises(ModelError, match=r"not as nnU-Net v2 writes it|no configuration"):
        import_nnunet(folder, tmp_path / "model")


def test_scores_that_cannot_be_read_stop_nothing(tmp_path):
    folder = write_folder(tmp_path / "trained", "slices")
    (folder / "fold_0" / "validation").mkdir()
    (folder / "fold_0" / "validation" / "summary.json").write_text('{"mean": [')
    model = read_model_file(import_nnunet(folder, tmp_path / "model").parent)
    assert model.training.validation_dice == {}


def test_a_pickle_that_is_no_checkpoint_is_told(tmp_path):
    folder = write_folder(tmp_path / "trained", "slices")
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError):
        import_nnunet(folder, tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"configuration": "3d_lowres"}, "not yet"),
        ({"previous_stage": "3d_lowres"}, "not yet"),
        ({"preprocessor_name": "MyPreprocessor"}, "MyPreprocessor"),
        ({"normalization_schemes": ["MyNormalization"]}, "MyNormalization.*ZScore"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "resample_torch"),
        ({"UNet_class_name": "Primus"}, "Primus.*PlainConvUNet"),
        ({"patch_size": [15, 24]}, "multiple"),
        ({"spacing": None}, "not as nnU-Net v2 writes it"),
    ],
)
def test_what_volunet_does_not_do_as_nnunet_does_is_refused_by_name(change, advice):
    case, plans = CASES["slices"], plans_of(CASES["slices"])
    name = change.get("configuration", "2d")
    plans["configurations"] = {name: {**plans["configurations"]["2d"], **change}}
    with pytest.raises(ModelError, match=advice):
        convert_plans(plans, case.dataset, name, ())


def test_a_data_set_of_nnunets_first_version_is_told():
    case = CASES["slices"]
    dataset = {**case.dataset, "labels": {"0": "background", "1": "edge"}}
    with pytest.raises(ModelError, match="not as nnU-Net v2 writes it"):
        convert_plans(case.plans, dataset, "2d", ())


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [
        ("norm_op", "torch.nn.modules.batchnorm.BatchNorm3d", "BatchNorm3d"),
        ("nonlin", "torch.nn.ReLU", "ReLU"),
        ("stem_channels", 7, "stem_channels"),
        ("strides", [[2, 2, 2], [2, 2, 2], [1, 1, 1]], "first stride"),
    ],
)
def test_a_network_made_of_other_parts_is_refused_by_name(key, value, advice):
    case, plans = CASES["regions"], plans_of(CASES["regions"])
    made = plans["configurations"]["3d_fullres"]["architecture"]
    made["arch_kwargs"][key] = value
    with pytest.raises(ModelError, match=advice):
        convert_plans(plans, case.dataset, "3d_fullres", ())


def test_a_network_that_a_trainer_changed_is_told_weight_by_weight(tmp_path):
    state = state_of("slices")
    state["decoder.stages.0.convs.0.norm.running_mean"] = torch.zeros(8)
    state["encoder.stages.1.0.convs.0.conv.weight"] = torch.zeros(8, 4, 5, 5)
    del state["decoder.transpconvs.0.weight"]
    changed = checkpoint_of("slices", network_weights=state)
    folder = write_folder(tmp_path / "trained", "slices", checkpoint=changed)
    with pytest.raises(ModelError) as told:
        import_nnunet(folder, tmp_path / "model")
    for part in ("running_mean is left over", "transpconvs.0.weight is missing", "(8, 4, 1, 5, 5)"):
        assert part in str(told.value)


def test_a_folder_that_is_no_trained_model_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"plans\.json"):
        import_nnunet(tmp_path, tmp_path / "model")


def test_a_fold_that_is_not_there_is_told(tmp_path):
    folder = write_folder(tmp_path / "trained", "slices")
    with pytest.raises(ModelError, match="fold_3"):
        import_nnunet(folder, tmp_path / "model", folds=["3"])
    with pytest.raises(ModelError, match="--checkpoint final"):
        import_nnunet(folder, tmp_path / "model", which="best")
