"""Cases in which different things were drawn: a network learns all from their union."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.tiny import PLAN, ball, job
from volunet.data.cache import Prepared
from volunet.data.sampler import cut_patches, draw_patches
from volunet.planning.machine import training_dtype
from volunet.space.labels import Labels
from volunet.training.fit import fit
from volunet.training.losses.loss import Loss
from volunet.training.validate import looking, score_cases

LABELS = Labels(structures={"ball": 1, "hole": 2})
TWO = PLAN.model_copy(update={"labels": LABELS})


def with_a_hole(case: Prepared) -> Prepared:
    """The case with a dark ball as well, a quarter of the way round."""
    image = case.image.copy()
    place = np.argwhere(case.label).mean(axis=0) + (0, 0, 9)
    place[2] %= 20
    apart = np.abs(np.indices(case.label.shape) - place[:, None, None, None])
    inside = (np.minimum(apart, 20 - apart) ** 2).sum(axis=0) < 9
    image[0][inside] -= 1
    label = np.where(inside, 2, case.label).astype(np.uint8)
    samples = {c: np.argwhere(label == c).astype(np.int32) for c in (1, 2)}
    return replace(case, image=image, label=label, foreground=samples)


def drew(case: Prepared, only: int, *, told: bool) -> Prepared:
    """The case as somebody made it who drew one structure only, who says so or not."""
    label = np.where(case.label == only, case.label, 0).astype(np.uint8)
    drawn = np.array([True, only == 1, only == 2]) if told else None
    return replace(case, label=label, foreground={only: case.foreground[only]}, drawn=drawn)


def trained_on(folder, *, told: bool) -> dict[str, float]:
    """Dice of both structures after training on six cases, three of each kind."""
    whole = [with_a_hole(ball(n)) for n in range(8)]
    train = [drew(case, 1 + n % 2, told=told) for n, case in enumerate(whole[:6])]
    made = job(folder, steps=200)
    return fit(replace(made, plan=TWO, train=train, validation=whole[6:])).score.each


def test_both_are_learnt_where_each_case_says_what_was_drawn(tmp_path):
    told = trained_on(tmp_path / "told", told=True)
    untold = trained_on(tmp_path / "untold", told=False)
    assert min(told.values()) > 0.6
    assert np.mean(list(told.values())) > np.mean(list(untold.values())) + 0.1


def test_what_was_not_drawn_is_not_scored():
    case = drew(with_a_hole(ball(0)), 1, told=True)
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    engine = looking(TWO.build_network(), cpu, training_dtype(cpu))
    ((ball_dice, hole_dice),) = score_cases(engine, [case], TWO)
    assert np.isnan(hole_dice)
    assert not np.isnan(ball_dice)


def test_a_batch_tells_what_was_drawn_in_each_patch():
    cases = [drew(with_a_hole(ball(0)), 1, told=True), with_a_hole(ball(1))]
    rng = np.random.default_rng(0)
    draws = draw_patches(cases, (8, 8, 8), 12, foreground_share=1, rng=rng)
    batch = cut_patches(cases, draws, (8, 8, 8))
    for draw, drawn in zip(draws, batch.drawn.tolist(), strict=True):
        assert drawn == [[True, True, False], [True, True, True]][draw.case]
    whole = replace(draws[0], case=1)
    assert cut_patches(cases, [whole], (8, 8, 8)).drawn.all()  # as other processes are told too
    assert cut_patches(cases[1:], [replace(whole, case=0)], (8, 8, 8)).drawn is None


@pytest.mark.parametrize("labelled", [("ball",), ("hole",)])
def test_no_slope_tells_the_rest_from_background(labelled):
    made = TWO.build_network()
    only = 1 + LABELS.names.index(labelled[0])
    rest = 3 - only
    case = drew(with_a_hole(ball(0)), only, told=True)
    rng, size = np.random.default_rng(0), (16, 16, 16)
    draws = draw_patches([case], size, 2, foreground_share=1, rng=rng)
    batch = cut_patches([case], draws, size)
    logits = made(batch.image)
    logits.retain_grad()
    Loss(TWO)((logits,), batch.label, drawn=batch.drawn).backward()
    shares = torch.softmax(logits, dim=1)
    # As slopes by logits: those of background and of the rest are in proportion to their shares.
    slopes = logits.grad / shares
    torch.testing.assert_close(slopes[:, rest], slopes[:, 0], rtol=1e-3, atol=1e-6)
