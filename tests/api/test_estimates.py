"""From images and targets to a model and its estimates, in this process: train, go on, predict."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

import volunet as vn
from volunet.api.asked import Wanted, Watch
from volunet.api.crossval import cross_validate
from volunet.api.starting import Starting, _unclipped
from volunet.api.training import train
from volunet.cohort.runner import predict_cohort
from volunet.data.scans import find_scans
from volunet.errors import ConfigError
from volunet.evaluation.evaluate_values import evaluate_values
from volunet.packaging.model_file import load_weights, read_model_file
from volunet.recipe import Recipe
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume

NETWORK = {
    "patch": (16, 16, 16),
    "features": (4, 8),
    "strides": ((2, 2, 2),),
    "kernels": ((3, 3, 3), (3, 3, 3)),
    "batch": 2,
}
TRAINING = {"optimisation": {"method": "adamw", "learning_rate": 0.01}, "validations": 2}
GRID = Grid((20, 18, 22), np.diag([-1.0, 1.0, 2.0, 1.0]))


def smooth(rng) -> np.ndarray:
    """Blocks of grey, which noise is easily told from."""
    blocks = rng.integers(1, 9, (5, 5, 6)) * 50.0
    return blocks.repeat(4, 0).repeat(4, 1).repeat(4, 2)[:20, :18, :22]


def write_cases(root, kind, count, *, make, channel="MR"):
    (root / "images").mkdir(parents=True)
    (root / kind).mkdir()
    for n in range(count):
        rng = np.random.default_rng(n)
        image, other = make(rng)
        for folder, voxels in (("images", image), (kind, other)):
            vn.write(Volume(voxels[None], GRID), root / folder / f"case_{n}.nii.gz")
    return root


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def noisy(rng):
    clean = smooth(rng)
    return (clean + rng.normal(0, 60, clean.shape)).astype(np.float32), clean.astype(np.float32)


def bright(rng):
    clean = smooth(rng)
    return clean.astype(np.float32), (clean > 250).astype(np.uint8)


def denoising(**more) -> Recipe:
    names = {"channels": ("MR",), "targets": ("MR",)}
    return Recipe(budget="60steps", plan=NETWORK, training=TRAINING, **names, **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("run")
    data = write_cases(home / "data", "targets", 6, make=noisy)
    cache = home / "cache"
    return data, train(data, home / "run", denoising(), wanted=Wanted(cache=cache)), home


def test_noise_goes_and_scores_say_so(run):
    data, done, _ = run
    before = {s.case_id: s for s in evaluate_values(data / "images", data / "targets").scores}
    for score in done.validated.scores:
        assert score.psnr_db > before[score.case_id].psnr_db + 2
        assert score.ssim > before[score.case_id].ssim
    after = done.validated.summary["targets"]["MR"]
    assert after["n_refused"] == 0
    rows = rows_of(done.folder / "validation" / "metrics.csv")
    assert {row["target"] for row in rows} == {"MR"}
    model = read_model_file(done.model)
    assert model.training.validation_dice == {}
    assert model.training.scored == model.training.held_out == len(done.validated.scores)
    assert model.training.validation_psnr_db == {"MR": after["psnr_db"]["mean"]}
    assert done.calibration is None


def test_the_history_holds_psnr(run):
    _, done, _ = run
    rows = rows_of(done.folder / "history.csv")
    assert len([row for row in rows if row["val_psnr_db"]]) == 2


def test_a_folder_of_scans_becomes_a_folder_of_values(run):
    data, done, home = run
    model = vn.load(done.model, engine="torch")
    outcome = predict_cohort(find_scans(data / "images"), model, home / "out")
    assert outcome.exit_code == 0
    assert all(record.measurements == () for record in outcome.records)
    made, scan = (vn.read(home / at / "case_3.nii.gz") for at in ("out", "data/images"))
    assert made.voxels.dtype == np.float32
    assert made.grid.matches(scan.grid)
    again = predict_cohort(find_scans(data / "images"), model, home / "out")
    assert again.kept == 6
    scores = evaluate_values(home / "out", data / "targets", targets=("MR",))
    assert scores.summary["targets"]["MR"]["n_missing"] == 0


def test_the_same_run_goes_on_and_another_recipe_is_refused(run):
    data, done, home = run
    wanted = Wanted(cache=home / "cache")
    assert train(data, done.folder, denoising(), wanted=wanted).trained is None
    huber = denoising().training.model_copy(
        update={"loss": denoising().training.loss.model_copy(update={"huber_delta": 2.0})}
    )
    with pytest.raises(ConfigError, match="huber_delta"):
        train(data, done.folder, denoising().model_copy(update={"training": huber}), wanted=wanted)


@pytest.mark.slow
def test_folds_are_scored_together_and_make_an_ensemble(run):
    data, _, home = run
    recipe = denoising().model_copy(update={"budget": "16steps"})
    done = cross_validate(data, home / "cv", recipe, folds=2, wanted=Wanted(cache=home / "cache"))
    assert done.validated.summary["targets"]["MR"]["psnr_db"]["n"] == 6
    assert len(read_model_file(done.model).weights) == 2
    assert done.calibration is None
    made = vn.load(done.model, engine="torch")(vn.read(data / "images" / "case_0.nii.gz"))
    assert np.isfinite(made.values.voxels).all()


@pytest.mark.slow
def test_a_model_of_structures_becomes_one_of_values(tmp_path):
    cache = tmp_path / "cache"
    labelled = write_cases(tmp_path / "labelled", "labels", 4, make=bright)
    found = Recipe(
        budget="4steps",
        plan=NETWORK | {"supervised_scales": 1},
        training=TRAINING,
        channels=("MR",),
        labels=Labels(structures={"bright": 1}),
    )
    first = train(labelled, tmp_path / "first", found, wanted=Wanted(cache=cache))
    data = write_cases(tmp_path / "data", "targets", 4, make=noisy)
    told = []
    recipe = denoising().model_copy(update={"budget": "1steps", "plan": {}})
    slow = recipe.training.optimisation.model_copy(update={"learning_rate": 1e-9})
    recipe = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"optimisation": slow})}
    )
    wanted = Wanted(cache=cache, start=first.model)
    second = train(data, tmp_path / "second", recipe, wanted=wanted, watch=Watch(say=told.append))
    assert any("Starting from" in line for line in told)
    (old,), (new,) = (load_weights(m, read_model_file(m)) for m in (first.model, second.model))
    plan = read_model_file(second.model).plan
    assert plan.features == NETWORK["features"]
    body = [name for name in old if name not in plan.head_axes]
    assert all(np.allclose(old[name], new[name], atol=1e-5) for name in body)
    assert old["head.weight"].shape[0] == 2
    assert np.allclose(new["head.weight"], 0, atol=1e-6)  # it began with nothing


def test_a_recipe_about_targets_wants_a_dataset_of_targets(tmp_path):
    labelled = write_cases(tmp_path / "labelled", "labels", 2, make=bright)
    with pytest.raises(ConfigError, match="have label maps"):
        train(labelled, tmp_path / "run", denoising())
    data = write_cases(tmp_path / "data", "targets", 2, make=noisy)
    declared = replace_labels(denoising())
    with pytest.raises(ConfigError, match=r"Take \[labels\] out"):
        train(data, tmp_path / "run", declared)


def replace_labels(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"labels": Labels(structures={"liver": 1})})


def test_terms_about_structures_and_a_spacing_are_refused_before_the_work(tmp_path):
    data = write_cases(tmp_path / "data", "targets", 2, make=noisy)
    dice = Recipe.default(changes=["training.loss.terms.dice=1.0", 'targets=["MR"]'])
    with pytest.raises(ConfigError, match="compare structures"):
        vn.plan(data, dice)
    with pytest.raises(ConfigError, match=r"plan\.respace = true"):
        vn.plan(data, Recipe(plan=NETWORK | {"spacing": (2, 2, 2)}))
    with pytest.raises(ConfigError, match="no two the same"):
        Recipe.default(changes=['targets=["CT", "CT"]'])


def test_a_model_that_clips_does_not_make_one_that_estimates_clip(run, tmp_path):
    _, done, _ = run
    starting = Starting(done.model)
    told = starting.recipe_for(denoising(), ("MR",), targets=("MR",)).plan
    assert (told["respace"], told["corrects"]) == (False, True)
    assert "spacing" not in told
    other = starting.recipe_for(denoising(), ("MR",), targets=("CT",)).plan
    assert "corrects" not in other
    ct = {"scheme": "set", "low": -100.0, "high": 300.0, "mean": 40.0, "sd": 80.0}
    assert _unclipped(ct) == ct | {"low": -1e9, "high": 1e9}
    assert _unclipped({"scheme": "image"}) == {"scheme": "image"}


def test_what_a_dataset_calls_its_targets_stands_in_labels_json(tmp_path):
    data = write_cases(tmp_path / "data", "targets", 2, make=noisy)
    (data / "labels.json").write_text(json.dumps({"channels": ["MR"], "targets": ["clean"]}))
    made = vn.plan(data, Recipe(plan=NETWORK))
    assert made.targets.names == ("clean",)
    assert not made.corrects
    assert made.targets.scales[0].mean == pytest.approx(225, abs=40)
    assert not made.respace


def test_another_plan_than_the_runs_is_refused(run, tmp_path):
    data, done, home = run
    other = tmp_path / "other"
    other.mkdir()
    plan = json.loads((done.folder / "plan.json").read_text())
    plan["targets"]["names"], plan["corrects"] = ["T2"], False
    plan["targets"]["scales"] = [{"mean": 0.0, "sd": 1.0}]
    (other / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match=r"plan.json is for the targets"):
        train(data, other, denoising(), wanted=replace(Wanted(), cache=home / "cache"))
