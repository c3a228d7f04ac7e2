"""Patches that grow: whole in the end, what the network takes at every moment, and repeatable."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import PLAN, job
from volunet.errors import Stopped
from volunet.planning.plan import Plan
from volunet.training.fit import fit, start_run
from volunet.training.growth import Growth

LARGE = PLAN.model_copy(update={"patch": (96, 64, 20)})
PAPER = Plan.model_validate(
    PLAN.model_dump()
    | {"family": "original", "patch": (44, 44, 44), "features": (4, 8, 16)}
    | {"strides": ((2, 2, 2), (2, 2, 2)), "kernels": ((3, 3, 3),) * 3}
)
SLICES = Plan.model_validate(
    PLAN.model_dump()
    | {"dimensions": 2, "patch": (64, 64, 1)}
    | {"strides": ((2, 2, 1),), "kernels": ((3, 3, 1),) * 2}
)


def test_patches_are_whole_unless_asked():
    assert Growth().patch_at(0.0, LARGE) == LARGE.patch


def test_worked_by_hand():
    growth = Growth(begin=0.5, until=0.5)
    assert growth.patch_at(0.0, LARGE) == (48, 32, 10)
    assert growth.patch_at(0.25, LARGE) == (72, 48, 16)  # 15 halves only as 16
    assert growth.patch_at(0.5, LARGE) == LARGE.patch
    assert growth.patch_at(1.0, LARGE) == LARGE.patch


@pytest.mark.parametrize("plan", [LARGE, PAPER, SLICES], ids=["padded", "unpadded", "slices"])
@given(begin=st.floats(0.01, 1), until=st.floats(0.01, 1))
def test_every_patch_is_one_that_the_network_answers_and_none_shrinks(plan, begin, until):
    growth = Growth(begin=begin, until=until)
    sizes = [growth.patch_at(n / 20, plan) for n in range(21)]
    for size in sizes:
        assert plan.nearest_patch(size) == size
        assert all(n <= whole for n, whole in zip(size, plan.patch, strict=True))
    for size, later in pairwise(sizes):
        assert all(n <= more for n, more in zip(size, later, strict=True))
    assert sizes[-1] == plan.patch


def test_a_run_is_given_patches_that_grow_and_the_plans_own_in_the_end(tmp_path):
    run = start_run(job(tmp_path, steps=8, growth=Growth(begin=0.25, until=0.5)))
    seen = []
    for batch in run.batches():
        assert batch.image.shape[2:] == batch.label.shape[1:]
        seen.append(batch.image.shape[-1])
        run.clock.tick()
    assert seen == [4, 8, 10, 14, 16, 16, 16, 16]


def test_stopped_while_they_grow_and_gone_on_is_as_never_stopped(tmp_path):
    growth = Growth(begin=0.25, until=1.0)
    whole = fit(job(tmp_path / "whole", steps=8, growth=growth))
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        fit(job(tmp_path / "parts", steps=8, growth=growth), should_stop=lambda: next(asked))
    parts = fit(job(tmp_path / "parts", steps=8, growth=growth))
    assert all(torch.equal(whole.weights[name], parts.weights[name]) for name in whole.weights)
    grown = fit(job(tmp_path / "other", steps=8))
    assert not all(torch.equal(whole.weights[name], grown.weights[name]) for name in whole.weights)
