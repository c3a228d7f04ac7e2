"""The fastest engine that agrees is chosen once, and remembered as long as nothing has changed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.inference.engines.nets import PATCH, blobs
from tests.planning.drawing import plan_for
from volunet.errors import ConfigError, ModelError
from volunet.findings import Refused
from volunet.inference.effort import Effort
from volunet.inference.engines import auto, choose
from volunet.inference.engines.auto import AutoEngine
from volunet.inference.engines.candidates import REFERENCE, Candidate
from volunet.inference.engines.openvino_engine import precisions
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.engines.trial import make_windows
from volunet.inference.limit import foresee
from volunet.io.header import Header
from volunet.io.user_cache import UNREAD_DAYS
from volunet.space.grid import Grid
from volunet.space.labels import Labels

CPU = torch.device("cpu")
half = pytest.mark.skipif("bf16" not in precisions(), reason="this CPU has no bfloat16")


@pytest.fixture(autouse=True)
def no_network_is_small(monkeypatch):
    monkeypatch.setattr(auto, "SMALL", 0)


@pytest.fixture
def scan() -> np.ndarray:
    return make_windows(1, PATCH)[0].numpy()


def engine_of(network, cache: Path, **more) -> tuple[AutoEngine, list[str]]:
    said: list[str] = []
    return AutoEngine(network, CPU, cache=cache, tell=said.append, **more), said


def able(choice) -> list[choose.Row]:
    """The rows of what this processor computes in."""
    return [row for row in choice.rows if not row.verdict.startswith("this CPU does not")]


def was_tried(said: list[str]) -> bool:
    return any(text.startswith("Trying") for text in said)


def test_the_fastest_that_agrees_is_chosen_and_answers(tmp_path, scan):
    engine, said = engine_of(blobs(), tmp_path)
    assert str(engine) == "not chosen yet"
    choice = engine.settle(scan)
    row = choice.rows[choice.chosen]
    agreeing = [r for r in choice.rows if r.verdict in ("chosen", "slower")]
    assert row.verdict == "chosen"
    assert row.seconds == min(r.seconds for r in agreeing)
    assert str(engine) == str(row)
    assert said[-1].startswith(f"Engine: {row}")
    assert {r.engine for r in choice.rows} == {"torch", "openvino", "onnx"}
    wanted = TorchEngine(blobs().module, device="cpu")(torch.from_numpy(scan)[None])
    assert (
        engine(torch.from_numpy(scan)[None]).argmax(1) == wanted.argmax(1)
    ).float().mean() > 0.99


@half
def test_a_network_that_half_precision_breaks_runs_in_float32_and_it_is_said(tmp_path, scan):
    engine, said = engine_of(blobs(offset=1e4), tmp_path)
    choice = engine.settle(scan)
    assert choice.winner.precision == "fp32"
    broken = [row for row in choice.rows if row.precision == "bf16"]
    assert {row.engine for row in broken} == {"torch", "openvino"}
    assert all("are needed" in row.verdict for row in broken)
    assert "bf16 was set aside: the same class in" in said[-1]
    with pytest.raises(ModelError, match="openvino bf16: the same class in"):
        engine_of(blobs(offset=1e4), tmp_path, engine="openvino", precision="bf16")[0].settle(scan)


def test_a_choice_is_remembered_and_what_was_converted_is_not_converted_again(tmp_path, scan):
    first, said = engine_of(blobs(), tmp_path, engine="openvino")
    choice = first.settle(scan)
    assert was_tried(said)
    again, said = engine_of(blobs(), tmp_path, engine="openvino")
    assert again.settle(scan) == choice
    assert not was_tried(said)
    windows = torch.from_numpy(scan)[None]
    assert torch.equal(first(windows), again(windows))


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "gone", "another"])
@pytest.mark.parametrize("which", ["choice", "network"])
def test_what_is_kept_and_damaged_is_made_again(tmp_path, scan, harm, which):
    engine_of(blobs(), tmp_path, engine="onnx")[0].settle(scan)
    small, large = sorted(tmp_path.glob("*.kept"), key=lambda path: path.stat().st_size)
    path = small if which == "choice" else large
    content = path.read_bytes()
    harmed = {
        "flipped": content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
        "cut": content[:-9],
        "empty": b"",
        "another": (large if which == "choice" else small).read_bytes(),
    }
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(harmed[harm])
    engine, said = engine_of(blobs(), tmp_path, engine="onnx")
    engine.settle(scan)
    assert was_tried(said)
    engine, said = engine_of(blobs(), tmp_path, engine="onnx")
    engine.settle(scan)
    assert not was_tried(said)


def test_a_network_that_is_whole_but_was_not_tried_is_not_used(tmp_path, scan):
    """A conversion put under another's name proves its own bytes, and is refused all the same."""
    other = replace(blobs(offset=0.5), identity=blobs().identity)
    for network, place in ((blobs(), "here"), (other, "there")):
        engine_of(network, tmp_path / place, engine="onnx")[0].settle(scan)
    path = max((tmp_path / "there").glob("*.kept"), key=lambda path: path.stat().st_size)
    (tmp_path / "here" / path.name).write_bytes(path.read_bytes())
    engine, said = engine_of(blobs(), tmp_path / "here", engine="onnx")
    engine.settle(scan)
    assert was_tried(said)


def test_another_model_patch_or_number_of_threads_is_another_choice(tmp_path, scan):
    engine_of(blobs(), tmp_path, engine="onnx")[0].settle(scan)
    for network in (replace(blobs(), identity="other"), blobs(patch=(16, 16, 16))):
        engine, said = engine_of(network, tmp_path, engine="onnx")
        engine.settle(scan)
        assert was_tried(said)
    torch.set_num_threads(2)
    try:
        engine, said = engine_of(blobs(), tmp_path, engine="onnx")
        engine.settle(scan)
    finally:
        torch.set_num_threads(1)
    assert was_tried(said)


def test_a_choice_made_on_noise_holds_until_a_scan_is_seen(tmp_path, scan):
    engine, said = engine_of(blobs(), tmp_path, engine="onnx")
    assert engine.settle().seen == "noise"
    assert engine.settle(scan).seen == "scan"
    engine, said = engine_of(blobs(), tmp_path / "other", engine="onnx")
    assert engine.settle().seen == "noise"
    tmp_path /= "other"
    again, said = engine_of(blobs(), tmp_path, engine="onnx")
    assert again.settle().seen == "noise"
    assert not was_tried(said)
    engine, said = engine_of(blobs(), tmp_path, engine="onnx")
    assert engine.settle(scan).seen == "scan"
    assert was_tried(said)
    again, said = engine_of(blobs(), tmp_path, engine="onnx")
    assert again.settle().seen == "scan"
    assert not was_tried(said)


def test_what_became_of_the_others_is_kept_for_the_records(tmp_path, scan):
    engine, _ = engine_of(blobs(), tmp_path, engine="onnx")
    assert engine.why == ""
    choice = engine.settle(scan)
    assert engine.why == str(choice) != ""


def test_the_first_windows_settle_what_nobody_has_settled(tmp_path, scan):
    engine, said = engine_of(blobs(), tmp_path, engine="onnx")
    logits = engine(torch.from_numpy(scan)[None])
    assert logits.shape == (1, 3, *PATCH)
    assert engine.settle().seen == "scan"
    assert len(said) == 2


def test_a_network_without_an_identity_leaves_nothing_behind(tmp_path, scan):
    engine, said = engine_of(replace(blobs(), identity=""), tmp_path, engine="onnx")
    engine.settle(scan)
    assert was_tried(said)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, scan):
    (tmp_path / "file").write_text("in the way")
    engine, said = engine_of(blobs(), tmp_path / "file" / "engines", engine="onnx")
    assert engine.settle(scan).winner.engine == "onnx"
    assert was_tried(said)


def test_what_nobody_reads_any_more_is_removed(tmp_path, scan):
    engine_of(blobs(), tmp_path, engine="onnx")[0].settle(scan)
    old = list(tmp_path.glob("*.kept"))
    for path in old:
        seconds = path.stat().st_mtime - (UNREAD_DAYS + 1) * 24 * 3600
        os.utime(path, (seconds, seconds))
    engine_of(replace(blobs(), identity="other"), tmp_path, engine="onnx")[0].settle(scan)
    assert not any(path.exists() for path in old)
    assert len(list(tmp_path.glob("*.kept"))) == 2


def test_a_small_network_is_run_by_torch_and_nothing_is_converted(tmp_path, scan, monkeypatch):
    monkeypatch.setattr(auto, "SMALL", 1e9)
    engine, said = engine_of(blobs(), tmp_path)
    choice = engine.settle(scan)
    assert choice.winner.engine == "torch"
    assert not was_tried(said)
    (kept,) = tmp_path.iterdir()  # the choice alone
    assert kept.stat().st_size < 2_000
    again, _ = engine_of(blobs(), tmp_path)
    assert again.settle(scan[:, ::-1].copy()) == choice  # whatever scan comes first
    left_out = [row for row in choice.rows if row.engine != "torch"]
    assert left_out
    assert all(row.verdict == "not tried: the network is small" for row in left_out)
    assert all(row.seconds is None for row in left_out)


def test_a_precision_that_is_asked_for_is_the_only_one_tried(tmp_path, scan):
    choice = engine_of(blobs(), tmp_path, precision="fp32")[0].settle(scan)
    assert {row.precision for row in choice.rows} == {"fp32"}
    torch_only = engine_of(blobs(), tmp_path, engine="torch", precision="bf16")[0]
    assert str(torch_only.settle(scan).winner) == "torch bf16"
    assert torch_only.settle(scan).seen == "none"


@pytest.mark.parametrize(
    ("engine", "precision", "told"),
    [
        ("tensorrt", None, "no engine 'tensorrt' for cpu. Choose auto or onnx, openvino, torch"),
        ("auto", "fp64", "no precision 'fp64'. Choose fp32, bf16, fp16"),
        ("onnx", "bf16", "No onnx engine has bf16 on cpu. There are .*torch fp32"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(tmp_path, engine, precision, told):
    with pytest.raises(ConfigError, match=told):
        engine_of(blobs(), tmp_path, engine=engine, precision=precision)


def test_an_engine_that_cannot_take_the_network_is_a_row_and_not_the_end(tmp_path, scan):
    class Fickle(torch.nn.Module):
        """Converters follow one path and do not come this way."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.jit.is_tracing():
                raise RuntimeError("this network will not be traced")
            return torch.cat([x, -x], dim=1)

    network = replace(blobs(), module=Fickle(), identity="fickle")
    choice = engine_of(network, tmp_path)[0].settle(scan)
    assert choice.winner.engine == "torch"
    failed = [row for row in able(choice) if row.engine != "torch"]
    assert failed
    assert all(row.verdict.startswith("failed:") for row in failed)


def test_an_engine_that_is_far_too_slow_is_not_tried_to_the_end(tmp_path, scan, monkeypatch):
    trial, looks = torch.zeros(3, 1, 4, 4, 4), []

    def engine(windows):
        looks.append(len(windows))
        return windows

    answers, _ = choose._answers(engine, trial, 0.0)
    assert (len(answers), looks) == (1, [1])
    answers, _ = choose._answers(engine, trial)
    assert (len(answers), looks) == (3, [1] * 5)  # and once more, for the first one's time
    monkeypatch.setattr(choose, "HOPELESS", 0.0)
    choice = engine_of(blobs(), tmp_path)[0].settle(scan)
    assert all(row.seconds for row in able(choice))


def test_the_networks_of_an_ensemble_try_what_the_first_one_chose(tmp_path, scan):
    first, _ = engine_of(blobs(), tmp_path)
    winner = first.settle(scan).winner
    second, _ = engine_of(replace(blobs(offset=0.5), identity="fold 1"), tmp_path)
    choice = second.settle(scan, like=first)
    assert {str(row) for row in choice.rows} <= {str(winner), "torch fp32"}
    assert second.settle(scan, like=first) is choice


def test_where_what_the_first_one_chose_fails_a_network_the_others_that_were_asked_for_are_tried(
    tmp_path, scan, monkeypatch
):
    first, _ = engine_of(blobs(), tmp_path, engine="openvino")
    first.settle(scan)
    real, refused = choose.Bench._try, []

    def only_once(bench, candidate, *more):
        row = real(bench, candidate, *more)
        if len(refused) < 1:
            refused.append(candidate)
            return row.model_copy(update={"verdict": "other masks"})
        return row

    monkeypatch.setattr(choose.Bench, "_try", only_once)
    every = (Candidate("openvino", "fp32"), Candidate("onnx", "fp32"))
    second, _ = engine_of(replace(blobs(offset=0.5), identity="fold 1"), tmp_path)
    second._candidates = first._candidates = every
    choice = second.settle(scan, like=first)
    assert choice.winner in every
    assert len(choice.rows) == 2


class Wins:
    """A choice that fell on an engine."""

    def __init__(self, winner):
        self.winner = winner


def test_torch_is_not_settled_for_where_what_the_first_one_chose_fails_a_network(
    tmp_path, scan, monkeypatch
):
    first, _ = engine_of(blobs(), tmp_path)
    every = (Candidate("openvino", "fp32"), Candidate("onnx", "fp32"), REFERENCE)
    first._candidates = every[::2]
    monkeypatch.setattr(first, "settle", lambda image: Wins(every[0]))
    real, refused = choose.Bench._try, []

    def fails_once(bench, candidate, *more):
        row = real(bench, candidate, *more)
        if candidate == every[0] and not refused:
            refused.append(candidate)
            return row.model_copy(update={"verdict": "other masks"})
        return row

    monkeypatch.setattr(choose.Bench, "_try", fails_once)
    second, _ = engine_of(replace(blobs(offset=0.5), identity="fold 1"), tmp_path)
    second._candidates = every
    choice = second.settle(scan, like=first)
    assert {str(row) for row in choice.rows} == {str(candidate) for candidate in every}
    assert second._candidates == every
    later, _ = engine_of(replace(blobs(offset=0.5), identity="fold 1"), tmp_path)
    assert later.possible == (str(choice.winner),)


def test_a_network_of_an_ensemble_that_nothing_can_run_is_not_tried_with_every_scan(
    tmp_path, scan, monkeypatch
):
    first, _ = engine_of(blobs(), tmp_path, engine="openvino")
    first.settle(scan)
    tried = []

    def never(bench, candidate, *more):
        tried.append(candidate)
        return choose.row_of(candidate, verdict="other masks")

    monkeypatch.setattr(choose.Bench, "_try", never)
    second, _ = engine_of(
        replace(blobs(offset=0.5), identity="fold 1"), tmp_path, engine="openvino"
    )
    for _ in range(3):
        with pytest.raises(ModelError, match="can run this model"):
            second.settle(scan, like=first)
    assert len(tried) == len(set(tried)) or len(tried) <= 2 * len(set(tried))
    before = len(tried)
    with pytest.raises(ModelError):
        second.settle(scan, like=first)
    assert len(tried) == before


def test_what_may_run_is_known_before_it_is_chosen(tmp_path, scan):
    engine, _ = engine_of(blobs(), tmp_path)
    assert {"openvino fp32", "onnx fp32", "torch fp32"} <= set(engine.possible)
    assert engine.needs_trial
    chosen = str(engine.settle(scan).winner)
    later, _ = engine_of(blobs(), tmp_path)
    assert later.possible == (chosen,)
    assert not later.needs_trial


def test_what_there_is_no_room_to_try_is_run_by_torch_in_float32(tmp_path, scan):
    engine, said = engine_of(blobs(), tmp_path)
    engine.settle_untried()
    assert str(engine) == "torch fp32"
    assert not was_tried(said)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_was_named_is_refused_rather_than_replaced_where_memory_is_short(tmp_path):
    plan = plan_for(patch=PATCH, labels=Labels(structures={str(n): n for n in range(1, 100)}))
    scan = Header(Grid((64, 64, 64), np.eye(4)), 1, np.dtype("i2"))
    named, _ = engine_of(blobs(), tmp_path, engine="openvino")
    free, _ = engine_of(blobs(), tmp_path)
    least = foresee(plan, scan, ["torch fp32"], Effort(strips=16)).demand.total
    assert not foresee(plan, scan, [free], Effort(), limit=1.01 * least).tried
    with pytest.raises(Refused, match="RES-MEMORY"):
        foresee(plan, scan, [named], Effort(), limit=1.01 * least)


def test_where_there_is_no_room_for_one_scan_the_next_one_may_choose(tmp_path, scan):
    engine, said = engine_of(blobs(), tmp_path)
    engine.settle_untried()
    engine.settle_untried()
    assert len(said) == 1
    windows = torch.from_numpy(scan)[None]
    wanted = TorchEngine(blobs().module, device="cpu")(windows)
    assert torch.equal(engine(windows), wanted)
    assert engine.needs_trial
    choice = engine.settle(scan)
    assert was_tried(said)
    assert str(engine) == str(choice.winner)


def test_an_ensemble_knows_on_another_day_what_was_chosen(tmp_path, scan):
    other = replace(blobs(offset=0.5), identity="fold 1")
    first, second = engine_of(blobs(), tmp_path)[0], engine_of(other, tmp_path)[0]
    second.settle(scan, like=first)
    for network in (blobs(), other):
        later, _ = engine_of(network, tmp_path)
        assert not later.needs_trial
        assert later.possible == (str(second),)


def test_what_failed_the_check_is_not_tried_again(tmp_path):
    class Restless(nn.Module):
        def forward(self, x):
            return torch.rand(len(x), 2, *x.shape[2:])

    network = replace(blobs(), module=Restless(), identity="restless")
    engine, said = engine_of(network, tmp_path, engine="onnx")
    for _ in range(2):
        with pytest.raises(ModelError, match="No engine of those asked for"):
            engine.settle(make_windows(1, PATCH)[0].numpy())
    assert sum(text.startswith("Trying") for text in said) == 1


class Full(nn.Module):
    """Fits the machine's memory in torch alone."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self.said, self.inner = said, blobs().module

    def forward(self, x):
        if torch.jit.is_tracing():
            raise RuntimeError(self.said)
        return self.inner(x)


def test_an_engine_that_memory_ran_out_for_is_told_and_tried_again(tmp_path, scan):
    for said, again in (("out of memory", True), ("no such operation", False)):
        network = replace(blobs(), module=Full(said), identity=said)
        for tried in (True, again):
            engine, told = engine_of(network, tmp_path)
            assert engine.settle(scan).winner.engine == "torch"
            assert was_tried(told) == tried
            assert f"onnx fp32 failed: {said}" in told[-1]


def test_a_scan_without_a_structure_is_not_enough_for_half_precision(scan):
    class Threshold(nn.Module):
        def forward(self, x):
            return torch.cat([torch.full_like(x, 5), x], dim=1)

    bench = choose.Bench(replace(blobs(), module=Threshold()), CPU)
    dark = torch.from_numpy(scan)[None]
    half, full = Candidate("torch", "bf16"), REFERENCE
    for candidate, windows, seen in (
        (half, 10 * dark, "scan"),
        (half, dark, "bare"),
        (full, dark, "scan"),
    ):
        choice = bench.choose((candidate,), lambda _, w=windows: w, seen="scan")
        assert choice.winner == candidate
        assert choice.seen == seen


def test_half_precision_set_aside_on_a_scan_without_a_structure_is_tried_again(scan):
    class Raised(nn.Module):
        """Small differences on a large logit, which bfloat16 rounds away; the background wins."""

        def __init__(self) -> None:
            super().__init__()
            self.look = nn.Conv3d(1, 1, 1)
            nn.init.ones_(self.look.weight)
            nn.init.constant_(self.look.bias, 1000.0)

        def forward(self, x):
            seen = self.look(x)
            return torch.cat([torch.full_like(seen, 5000), seen], dim=1)

    bench = choose.Bench(replace(blobs(), module=Raised()), CPU)
    windows = torch.from_numpy(scan)[None]
    half, alone = Candidate("torch", "bf16"), (REFERENCE,)
    choice = bench.choose((half, REFERENCE), lambda _: windows, seen="scan")
    assert choice.winner == REFERENCE
    assert choice.rows[0].verdict not in ("slower", "chosen")
    assert choice.seen == "bare"
    assert bench.choose(alone, lambda _: windows, seen="scan").seen == "scan"


class Fine(nn.Module):
    """A structure that only bright scans show, drawn so finely that bfloat16 loses it."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv3d(1, 1, 1)
        nn.init.ones_(self.look.weight)
        nn.init.zeros_(self.look.bias)

    def forward(self, x):
        seen = self.look(x)
        drawn = seen + (seen > 6) * 100 * torch.cos(3000 * seen)
        return torch.cat([torch.full_like(seen, 5), drawn], dim=1)


def on_dark_scans(cache: Path, monkeypatch) -> tuple[AutoEngine, list[str]]:
    """An engine that takes bfloat16 where it agrees, and may not keep anything."""
    monkeypatch.setattr(auto, "SMALL", 1e9)
    network = replace(blobs(), module=Fine(), identity="")
    engine, said = engine_of(network, cache)
    engine._candidates = (Candidate("torch", "bf16"), REFERENCE)
    return engine, said


def test_half_precision_chosen_on_a_scan_without_a_structure_is_tried_on_the_next_ones(
    tmp_path, scan, monkeypatch
):
    engine, said = on_dark_scans(tmp_path, monkeypatch)
    assert engine.settle(scan).seen == "bare"
    assert str(engine) == engine.untried == "torch bf16"
    assert engine.needs_trial  # which takes memory
    assert set(engine.possible) == {"torch bf16", "torch fp32"}
    engine.settle_untried()
    assert str(engine) == "torch bf16"
    choice = engine.settle(10 * scan)
    assert (str(choice.winner), choice.seen) == ("torch fp32", "scan")
    assert engine.settle(scan) is choice
    assert engine.possible == ("torch fp32",)
    assert not engine.needs_trial
    assert len(said) == 2


def test_after_three_scans_without_a_structure_the_choice_is_kept(tmp_path, scan, monkeypatch):
    engine, said = on_dark_scans(tmp_path, monkeypatch)
    for _ in range(5):
        assert engine.settle(scan).seen == "bare"
    assert len(said) == auto.MOST_BARE
    assert not engine.needs_trial


def test_an_engine_that_a_scan_without_a_structure_chose_runs_on_where_memory_is_short(
    tmp_path, scan, monkeypatch
):
    engine, _ = on_dark_scans(tmp_path, monkeypatch)
    engine._candidates = (Candidate("torch", "bf16"), Candidate("openvino", "fp32"))
    engine.settle(scan)
    plan = plan_for(patch=PATCH, labels=Labels(structures={str(n): n for n in range(1, 100)}))
    header = Header(Grid((64, 64, 64), np.eye(4)), 1, np.dtype("i2"))
    least = foresee(plan, header, ["torch bf16"], Effort(strips=16)).demand.total
    found = foresee(plan, header, [engine], Effort(), limit=1.01 * least)
    assert not found.tried
    assert found.demand.total <= 1.01 * least
    assert foresee(plan, header, [engine], Effort()).tried


def test_an_ensemble_chooses_anew_together_once_a_scan_shows_a_structure(
    tmp_path, scan, monkeypatch
):
    (first, said), (second, told) = (on_dark_scans(tmp_path, monkeypatch) for _ in range(2))
    for image, winner in ((scan, "torch bf16"), (10 * scan, "torch fp32"), (scan, "torch fp32")):
        first.settle(image)
        second.settle(image, like=first)
        assert str(first) == str(second) == winner
    assert len(said) == len(told) == 2


@pytest.mark.skipif("bf16" in precisions(), reason="this CPU has bfloat16")
def test_a_precision_that_no_engine_has_here_is_a_mistake_of_the_command(tmp_path):
    for engine in ("auto", "openvino"):
        with pytest.raises(ConfigError, match="openvino bf16: this CPU does not compute in bf16"):
            engine_of(blobs(), tmp_path, engine=engine, precision="bf16")


def test_threads_may_share_an_engine(tmp_path, scan):
    engine, said = engine_of(blobs(), tmp_path, engine="openvino")
    windows = [torch.from_numpy(scan)[None] * factor for factor in (1.0, 0.5, 2.0, -1.0)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(engine, windows))
    assert len(said) == 2
    for window, answer in zip(windows, answers, strict=True):
        assert torch.equal(answer, engine(window))


def test_looking_ahead_moves_no_statistics_of_batch_normalisation(tmp_path, scan, monkeypatch):
    """A network as it is loaded is in training mode, in which any look moves them."""
    monkeypatch.setattr(auto, "SMALL", 1e9)
    given = blobs()
    given.module.norm = nn.BatchNorm3d(4)
    given.module.train()
    before = {name: value.clone() for name, value in given.module.state_dict().items()}
    engine, _ = engine_of(given, tmp_path)
    assert engine.possible
    engine.settle(scan)
    after = engine._network.module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_remembered_engine_that_does_not_start_any_more_is_tried_again(
    tmp_path, scan, monkeypatch
):
    """As where a shared home folder holds what another machine's library took."""
    engine_of(blobs(), tmp_path, engine="onnx")[0].settle(scan)

    def broken(candidate, *rest):
        raise OSError(f"{candidate} has lost its library")

    engine, said = engine_of(blobs(), tmp_path, engine="onnx")
    with monkeypatch.context() as patched:
        patched.setattr(auto, "build", broken)
        assert engine.possible
    assert "onnx fp32 has lost its library): engines are tried again." in said[0]
    assert engine.settle(scan).rows[0].verdict == "chosen"
