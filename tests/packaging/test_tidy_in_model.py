"""What a model does to its label maps stands in model.json, and is read again with it."""

from __future__ import annotations

import json

import pytest
import torch

from tests.training.tiny import PLAN
from volunet.errors import ModelError
from volunet.inference.postprocess import Gain, Steps, Tidy
from volunet.packaging.model_file import (
    Training,
    amend_model,
    load_model,
    read_model_file,
    save_model,
)
from volunet.planning.fingerprint import CaseFacts, Fingerprint

CPU = torch.device("cpu")
TIDY = Tidy(
    structures={"ball": Steps(largest=True, dust_ml=0.1)},
    gains={"ball": Gain(cases=9, before=0.8, after=0.85)},
)


@pytest.fixture
def folder(tmp_path):
    facts = CaseFacts(shape=(9, 9, 9), spacing=(1, 1, 1), channels=(), volumes_ml={"ball": 0.5})
    save_model(
        tmp_path,
        PLAN.build_network().state_dict(),
        name="balls",
        plan=PLAN,
        fingerprint=Fingerprint(cases={"a": facts}),
        training=Training(cases=1, steps=1, seconds=1.0, seed=0, validation_dice={"ball": 0.8}),
    )
    return tmp_path


def test_a_model_tidies_what_was_added_to_it_and_is_another_model_then(folder):
    before = load_model(folder, device=CPU)
    assert not before.tidy
    amend_model(folder, tidy=TIDY)
    after = load_model(folder, device=CPU)
    assert after.tidy == TIDY
    assert after.identity != before.identity
    assert read_model_file(folder).tidy.gains["ball"].cases == 9


def test_a_model_of_before_tidying_is_read_and_is_the_model_it_was(folder):
    identity = load_model(folder, device=CPU).identity
    path = folder / "model.json"
    said = json.loads(path.read_text())
    del said["tidy"]
    path.write_text(json.dumps(said))
    assert load_model(folder, device=CPU).identity == identity


def test_a_model_that_would_tidy_what_it_does_not_find_is_refused(folder):
    path = folder / "model.json"
    said = json.loads(path.read_text())
    said["tidy"]["structures"]["cube"] = {"largest": True}
    path.write_text(json.dumps(said))
    with pytest.raises(ModelError, match="cube"):
        load_model(folder, device=CPU)
