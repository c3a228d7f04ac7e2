"""Training begins with published weights in the encoder, and tells what was loaded."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import PLAN, job
from volunet.api.asked import Wanted
from volunet.errors import ModelError
from volunet.models.encoders.catalogue import make_encoder
from volunet.training.fit import start_run

OPTIONS = {"encoder": "resnet10", "decoder_features": (2, 2, 4, 4, 4)}


def with_encoder(folder, **more):
    values = {"family": "encoder", "options": OPTIONS, "patch": (32, 32, 32)}
    values |= {"features": (2, 2, 4, 4, 4, 512), "strides": ((2, 2, 2),) * 5}
    plan = type(PLAN).model_validate({**PLAN.model_dump(), **values, "kernels": ((3, 3, 3),) * 6})
    return replace(job(folder, steps=1), plan=plan, **more)


def test_an_encoder_begins_with_inflated_weights_and_the_report_is_kept(tmp_path):
    torch.manual_seed(3)
    flat = make_encoder("resnet10", 2, 3)
    torch.save(flat.state_dict(), tmp_path / "flat.pth")
    run = start_run(with_encoder(tmp_path, encoder_weights=tmp_path / "flat.pth"))
    own, given = run.parts.network.encoder.state_dict(), flat.state_dict()
    name = next(n for n, w in given.items() if w.ndim == 4 and w.shape[1] != 3)
    assert torch.equal(own[name][..., own[name].shape[-1] // 2], given[name])
    (note,) = run.untold()
    assert "resnet10 from flat.pth" in note
    assert "adapted" in note


def test_a_file_that_is_no_encoders_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError):
        start_run(with_encoder(tmp_path, encoder_weights=tmp_path / "other.pth"))
    assert Wanted().encoder_weights is None
