"""A run that starts from another run's model, as a command."""

import json

import pytest

from tests.cli.command import SAMPLE, SMOKE, volunet


@pytest.mark.slow
def test_a_run_starts_from_another_ones_model(tmp_path):
    words = ("train", SAMPLE / "mr", "-r", SMOKE)
    first = volunet(*words, "-o", tmp_path / "first", home=tmp_path)
    assert first.returncode == 0, first.stderr
    model = tmp_path / "first" / "model"
    (weights,) = json.loads((model / "model.json").read_text())["weights"].values()
    going = volunet(*words, "-o", tmp_path / "on", "--from", tmp_path / "first", home=tmp_path)
    assert going.returncode == 0, going.stderr
    assert "Starting from smoke (" in going.stderr
    record = json.loads((tmp_path / "on" / "run.json").read_text())
    assert record["made_from"]["start"] == weights
    plans = [json.loads((tmp_path / n / "plan.json").read_text()) for n in ("first", "on")]
    assert plans[0] == plans[1]
    other = volunet(*words, "-o", tmp_path / "on", home=tmp_path)
    assert other.returncode == 2
    assert "start" in other.stderr


@pytest.mark.slow
def test_what_does_not_fit_the_model_is_told(tmp_path):
    words = ("train", SAMPLE / "mr", "-r", SMOKE)
    assert volunet(*words, "-o", tmp_path / "first", home=tmp_path).returncode == 0
    start = ("--from", tmp_path / "first")
    wider = volunet(
        *words, "-o", tmp_path / "on", *start, "--set", "plan.features=[4,12]", home=tmp_path
    )
    assert wider.returncode == 2
    assert "plan.features" in wider.stderr
    nothing = volunet(*words, "-o", tmp_path / "on", "--from", tmp_path, home=tmp_path)
    assert nothing.returncode == 2
    assert "holds no model.json" in nothing.stderr


@pytest.mark.slow
def test_an_encoder_of_random_weights_is_not_frozen(tmp_path):
    words = ("train", SAMPLE / "mr", "-r", SMOKE, "-o", tmp_path / "run")
    frozen = ("--set", "training.optimisation.freeze_encoder=true")
    done = volunet(*words, *frozen, home=tmp_path)
    assert done.returncode == 2
    assert "Give --from" in done.stderr
