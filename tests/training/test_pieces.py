"""A batch that does not fit the memory is cut until it does, and its gradients are the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ignite.engine import Events

from tests.training.tiny import PLAN, ball, job
from volunet.data.sampler import Batch, cut_patches, draw_patches
from volunet.errors import OutOfMemory
from volunet.training.engine import build_trainer
from volunet.training.fit import fit, start_run
from volunet.training.losses.settings import LossSettings
from volunet.training.pieces import Pieces, cut

ALONE = LossSettings(batch=False)  # patch by patch, so that pieces add up to the whole


def batch_of(patches: int) -> Batch:
    cases = [ball(n) for n in range(3)]
    rng = np.random.default_rng(0)
    draws = draw_patches(cases, PLAN.patch, patches, foreground_share=0.5, rng=rng)
    return cut_patches(cases, draws, PLAN.patch)


def trainer_that_fits(folder, most: int):
    """A run's trainer whose network runs out of memory beyond so many patches at once."""
    run = start_run(job(folder, steps=9, loss=ALONE))

    def refuse(_, inputs):
        if len(inputs[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    run.parts.module.register_forward_pre_hook(refuse)
    parts = replace(run.parts, dtype=torch.float32)  # fewer patches round otherwise in less
    return run, build_trainer(parts, tell=run.note_pieces)


def weights_after(run, trainer, batch) -> list[torch.Tensor]:
    trainer.run([batch], max_epochs=1)
    return [w.detach().clone() for w in run.parts.module.parameters()]


@pytest.mark.parametrize("patches", [4, 5])
def test_a_step_in_pieces_is_the_step_of_the_whole(tmp_path, patches):
    batch = batch_of(patches)
    whole = weights_after(*trainer_that_fits(tmp_path, 9), batch)
    run, trainer = trainer_that_fits(tmp_path, 1)
    for one, other in zip(whole, weights_after(run, trainer, batch), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)
    assert f"batch of {patches} did not fit" in run.notes[-1]
    assert f"in {patches} pieces" in run.notes[-1]


def test_it_keeps_to_the_pieces_and_says_so_once(tmp_path):
    run, trainer = trainer_that_fits(tmp_path, 2)
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output.loss)
    )
    trainer.run([batch_of(4)] * 3, max_epochs=1)
    assert len(losses) == 3
    assert [note for note in run.notes if "pieces" in note] == run.notes
    assert len(run.notes) == 1
    assert run.pieces == 2
    again = start_run(job(tmp_path, steps=9, loss=ALONE))
    again.load_state_dict(run.state_dict())
    assert again.pieces == 2


def test_one_patch_that_does_not_fit_is_told_with_advice(tmp_path):
    _, trainer = trainer_that_fits(tmp_path, 0)
    with pytest.raises(OutOfMemory, match=r"Not even one patch.*smaller plan\.patch"):
        trainer.run([batch_of(2)], max_epochs=1)


def test_another_error_is_no_reason_to_cut():
    def fail(batch: Batch, share: float) -> torch.Tensor:
        raise RuntimeError("something else")

    pieces = Pieces(fail, clear=lambda: None, tell=print)
    with pytest.raises(RuntimeError, match="something else"):
        pieces(batch_of(2))
    assert pieces.count == 1


def test_pieces_are_the_batch():
    batch = replace(batch_of(5), drawn=torch.eye(5, 2, dtype=torch.bool))
    parts = list(cut(batch, 2))
    assert [len(p.case_ids) for p in parts] == [3, 2]
    assert torch.equal(torch.cat([p.image for p in parts]), batch.image)
    assert torch.equal(torch.cat([p.label for p in parts]), batch.label)
    assert torch.equal(torch.cat([p.drawn for p in parts]), batch.drawn)
    assert sum((p.case_ids for p in parts), ()) == batch.case_ids


def test_a_batch_that_cannot_even_be_made_is_told_with_what_is_wanted_and_advice(tmp_path):
    vast = PLAN.model_copy(update={"patch": (4096,) * 3, "batch": 4096})  # petabytes
    told = r"\(cpu\): .*allocate.* wants about .* GB\. .*plan\.patch"
    with pytest.raises(OutOfMemory, match=told):
        fit(replace(job(tmp_path, steps=1), plan=vast, validation=[]))
