"""Training begins with published weights in the encoder, and tells what was loaded."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import PLAN, job
from volunet.api.asked import Wanted
from volunet.errors import ModelError
from volunet.models.encoders.catalogue import make_encoder
from volunet.models.weight_names import published_name
from volunet.training.budget import Budget
from volunet.training.fit import fit, start_run
from volunet.training.optim import Optimisation

OPTIONS = {"encoder": "resnet10", "decoder_features": (2, 2, 4, 4, 4)}


def with_encoder(folder, **more):
    values = {"family": "encoder", "options": OPTIONS, "patch": (32, 32, 32)}
    values |= {"features": (2, 2, 4, 4, 4, 512), "strides": ((2, 2, 2),) * 5}
    plan = type(PLAN).model_validate({**PLAN.model_dump(), **values, "kernels": ((3, 3, 3),) * 6})
    return replace(job(folder, steps=1), plan=plan, **more)


def test_an_encoder_begins_with_inflated_weights_and_the_report_is_kept(tmp_path):
    torch.manual_seed(3)
    flat = make_encoder("resnet10", 2, 3)
    published = {published_name(name): w for name, w in flat.state_dict().items()}
    torch.save(published, tmp_path / "flat.pth")
    run = start_run(with_encoder(tmp_path, encoder_weights=tmp_path / "flat.pth"))
    own, given = run.parts.network.encoder.state_dict(), flat.state_dict()
    name = next(n for n, w in given.items() if w.ndim == 4 and w.shape[1] != 3)
    turned = given[name].mT.flip((-2, -1))  # from rows and columns
    assert torch.equal(own[name][..., own[name].shape[-1] // 2], turned)
    (note,) = run.untold()
    assert "resnet10 from flat.pth" in note
    assert "adapted" in note


def test_the_way_and_the_axis_of_inflation_are_settings(tmp_path):
    torch.manual_seed(3)
    flat = make_encoder("resnet10", 2, 3)
    torch.save(flat.state_dict(), tmp_path / "flat.pth")
    told = with_encoder(tmp_path, encoder_weights=tmp_path / "flat.pth")
    settings = told.settings.model_copy(
        update={"inflate": "average", "inflate_axis": 0, "learnt_on": "arrays"}
    )
    run = start_run(replace(told, settings=settings))
    own, given = run.parts.network.encoder.state_dict(), flat.state_dict()
    name = next(n for n, w in given.items() if w.ndim == 4 and w.shape[1] != 3)
    for plane in own[name].unbind(2):
        torch.testing.assert_close(plane, given[name] / own[name].shape[2])
    assert "average along axis 0" in run.untold()[0]


def test_a_file_that_is_no_encoders_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError):
        start_run(with_encoder(tmp_path, encoder_weights=tmp_path / "other.pth"))
    assert Wanted().encoder_weights is None


def test_a_frozen_encoder_keeps_its_running_statistics_too(tmp_path):
    still = {"optimisation": Optimisation(freeze_encoder=True)}
    torch.save(make_encoder("resnet10", 3, 1).state_dict(), tmp_path / "own.pth")
    told = with_encoder(tmp_path, encoder_weights=tmp_path / "own.pth")
    made = replace(told, settings=job(tmp_path, **still).settings, budget=Budget(steps=2))
    before = {n: w.clone() for n, w in start_run(made).parts.network.encoder.state_dict().items()}
    after = fit(made).weights
    assert all(torch.equal(after[f"encoder.{name}"], w) for name, w in before.items())
