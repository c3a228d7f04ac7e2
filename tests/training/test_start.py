"""A network starts from another one's weights, its head by the names of structures."""

from dataclasses import replace

import pytest
import torch

from tests.models.test_families import spec_for
from tests.training.tiny import PLAN, job
from volunet.errors import ModelError, Stopped
from volunet.models.families import FAMILIES, build_network, head_axes, sizes_of
from volunet.models.supervision import DeepSupervision
from volunet.space.labels import Labels
from volunet.training.begin import Start
from volunet.training.fit import fit, start_run
from volunet.training.optim import Optimisation, make_optimizer, set_rate
from volunet.training.start import transplant

HEAD = {"head.weight": (0,), "head.bias": (0,)}


def network_for(*names: str, seed: int = 0):
    """A network for these structures, and what the rows of its head tell of."""
    torch.manual_seed(seed)
    labels = Labels(structures={name: n for n, name in enumerate(names, start=1)})
    plan = PLAN.model_copy(update={"labels": labels})
    return plan.build_network().eval(), plan.heads


def test_the_same_structures_give_the_same_logits():
    older, labels = network_for("liver", "spleen")
    newer, _ = network_for("liver", "spleen", seed=1)
    told = transplant(newer, older.state_dict(), labels, labels, HEAD)
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(newer(image), older(image))
    assert str(told) == "the head knows background, liver, spleen"


def test_a_structure_keeps_its_row_wherever_it_stands_and_a_new_one_its_drawn_row():
    older, before = network_for("liver", "spleen", "kidney")
    newer, now = network_for("kidney", "tumour", "liver", seed=1)
    drawn = newer.head.weight[2].clone()
    told = transplant(newer, older.state_dict(), before, now, HEAD)
    for part in ("weight", "bias"):
        new, old = (getattr(network.head, part) for network in (newer, older))
        assert torch.equal(new[[0, 1, 3]], old[[0, 3, 1]])
    assert torch.equal(newer.head.weight[2], drawn)
    assert str(told) == "the head knows background, kidney, liver; learns tumour; forgets spleen"


def test_weights_of_another_network_are_refused_and_change_nothing():
    older, before = network_for("liver")
    weights = older.state_dict()
    newer, now = network_for("liver", seed=1)
    own = {name: w.clone() for name, w in newer.state_dict().items()}
    other = PLAN.model_copy(update={"features": (4, 12)}).build_network().state_dict()
    for wrong in (other, {n: w for n, w in weights.items() if n != "encoder.0.0.conv.weight"}):
        with pytest.raises(ModelError, match=r"another network: .*encoder"):
            transplant(newer, wrong, before, now, HEAD)
    headless = {n: w for n, w in weights.items() if n != "head.bias"}
    with pytest.raises(ModelError, match=r"head\.bias do not fit"):
        transplant(newer, headless, before, now, HEAD)
    assert all(torch.equal(w, own[name]) for name, w in newer.state_dict().items())


def test_a_run_starts_where_another_ended(tmp_path):
    first = fit(job(tmp_path / "first", steps=60))
    start = Start(first.weights, PLAN.heads)
    short = {"optimisation": Optimisation(learning_rate=1e-4)}
    going = fit(replace(job(tmp_path / "on", steps=3, **short), start=start))
    fresh = fit(job(tmp_path / "fresh", steps=3, **short))
    assert going.score.each["ball"] > first.score.each["ball"] - 0.05
    assert going.score.each["ball"] > fresh.score.each["ball"] + 0.2


def test_a_run_tells_what_its_head_knows_and_warns_where_no_name_is_the_models(tmp_path):
    def notes(folder, *names):
        older, before = network_for(*names)
        started = replace(job(folder, steps=1), start=Start(older.state_dict(), before))
        told = []
        done = fit(started, report=lambda progress: told.extend(progress.notes))
        assert told == list(done.notes)
        return done.notes

    (same,) = notes(tmp_path / "same", "spleen", "ball")
    assert same == (
        "Of the model that training starts from the head knows background, ball; forgets spleen."
    )
    (other,) = notes(tmp_path / "other", "Ball", "1")
    assert "no structure or target is taken over: it knows Ball, 1, and here are ball." in other
    assert "labels.json" in other
    assert notes(tmp_path / "nothing") == (
        "Of the model that training starts from the head knows background; learns ball.",
    )


def test_a_frozen_encoder_stays_as_it_was(tmp_path):
    first = fit(job(tmp_path / "first", steps=4))
    settings = Optimisation(learning_rate=0.01, freeze_encoder=True)
    made = job(tmp_path / "on", steps=4, optimisation=settings)
    after = fit(replace(made, start=Start(first.weights, PLAN.heads))).weights
    same = {name for name, w in after.items() if torch.equal(w, first.weights[name])}
    assert same == {name for name in after if name.startswith("encoder.")}


def test_a_run_with_frozen_and_slower_parts_goes_on_where_it_stopped(tmp_path):
    settings = Optimisation(learning_rate=0.01, freeze_encoder=True, stage_decay=0.5)
    whole = fit(job(tmp_path / "whole", steps=6, optimisation=settings))
    made = job(tmp_path / "parts", steps=6, optimisation=settings, checkpoint_s=1e-6, log_steps=1)
    run = start_run(made)
    assert not any(
        w.requires_grad for n, w in run.parts.network.named_parameters() if "encoder" in n
    )
    asked = iter([False] * 3)
    with pytest.raises(Stopped):
        fit(made, should_stop=lambda: next(asked, True))
    parts = fit(made)
    assert parts.steps == 6
    assert all(torch.equal(whole.weights[name], w) for name, w in parts.weights.items())


def test_the_rate_falls_with_each_stage_away_from_the_head():
    network, _ = network_for("liver")
    wrapped = DeepSupervision(network, scales=1)
    optimizer = make_optimizer(wrapped, Optimisation(stage_decay=0.5))
    set_rate(optimizer, 1.0)
    rates = {id(w): group["lr"] for group in optimizer.param_groups for w in group["params"]}
    named = {name: rates[id(weight)] for name, weight in network.named_parameters()}
    assert len(rates) == len(named)
    # Two stages: encoder 0, encoder 1, decoder 0, head.
    expected = {"encoder.0": 0.125, "encoder.1": 0.25, "decoder.0": 0.5, "head": 1.0}
    for name, rate in named.items():
        (place,) = (place for place in expected if name.startswith(place))
        assert rate == expected[place]


def test_one_rate_for_all_unless_said():
    network, _ = network_for("liver")
    optimizer = make_optimizer(network, Optimisation())
    set_rate(optimizer, 0.1)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.01, 0.0}


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "swin_unetr"])
def test_any_family_keeps_what_it_knew_of_a_structure(family):
    def network(*names, seed):
        torch.manual_seed(seed)
        spec = spec_for(family, 2, in_channels=1, out_channels=len(names))
        return spec, build_network(spec).eval(), names

    spec, older, before = network("background", "liver", "spleen", seed=0)
    _, newer, now = network("background", "tumour", "spleen", "kidney", "liver", seed=1)
    axes = head_axes(spec)
    assert axes
    told = transplant(newer, older.state_dict(), before, now, axes)
    assert (told.drawn, told.left) == (("tumour", "kidney"), ())
    size = sizes_of(spec).at_least((64, 64))
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        seen, known = newer(image), older(image)
    if family != "monai_unet":  # whose last layer normalises logits together with their mixing
        assert torch.allclose(seen[:, [0, 4, 2]], known, atol=1e-5)


def test_a_head_that_has_other_rows_than_names_is_refused():
    older, before = network_for("liver", "spleen")
    newer, now = network_for("liver", seed=1)
    with pytest.raises(ModelError, match=r"head\.bias, head\.weight do not fit"):
        transplant(newer, older.state_dict(), before[:2], now, HEAD)
