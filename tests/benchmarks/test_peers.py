"""The network that peers are given is volunet's, and what they are measured with does not lie."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.peers.measured import Stopwatch, keep
from benchmarks.peers.plain_unet import load_plain
from benchmarks.peers.stitching import cut, make_image, pointwise
from volunet.inference.cover import classify
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.models.unet import UNet

PLAN = {
    "channels": ["CT"],
    "features": [4, 8, 12],
    "strides": [[2, 2, 2], [1, 2, 2]],
    "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
}


def keep_model(folder: Path) -> UNet:
    torch.manual_seed(0)
    strides, kernels = (tuple(map(tuple, PLAN[name])) for name in ("strides", "kernels"))
    network = UNet(3, 1, 5, features=tuple(PLAN["features"]), strides=strides, kernels=kernels)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_file(network.state_dict(), folder / "weights.safetensors")
    said = {"plan": PLAN, "weights": {"weights.safetensors": ""}}
    (folder / "model.json").write_text(json.dumps(said))
    return network.eval()


@torch.inference_mode()
def test_the_network_of_peers_gives_the_logits_of_volunets(tmp_path):
    ours, theirs = keep_model(tmp_path), load_plain(tmp_path)
    assert {type(m).__module__.split(".")[0] for m in theirs.modules()} == {"torch", "benchmarks"}
    windows = torch.randn(2, 1, 8, 16, 16)
    torch.testing.assert_close(theirs(windows), ours(windows), rtol=1e-4, atol=1e-4)


def test_the_network_of_peers_refuses_a_plan_that_it_cannot_copy(tmp_path):
    keep_model(tmp_path)
    said = json.loads((tmp_path / "model.json").read_text())
    said["plan"]["residual"] = True
    (tmp_path / "model.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match="plain blocks"):
        load_plain(tmp_path)


@torch.inference_mode()
def test_windows_for_the_network_alone_are_those_of_a_run():
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            seen.extend(windows.clone())
            return windows

    image = make_image((16, 12, 8))
    classify((TorchEngine(Watched(), device="cpu"),), image.numpy(), (8, 8, 8), Effort())
    alone = list(cut(image, 8))
    assert len(alone) == len(seen) == 3 * 2 * 1
    assert all(torch.equal(a, b) for a, b in zip(alone, seen, strict=True))


@torch.inference_mode()
def test_the_network_that_costs_nothing_uses_all_its_classes():
    image = make_image((16, 16, 16))
    assert pointwise(8)(image[None]).argmax(dim=1).unique().numel() == 8


def test_a_stopwatch_adds_up_what_comes_again():
    clock = Stopwatch()
    for _ in range(2):
        with clock.step("wait"):
            time.sleep(0.01)
    clock.timed(time.sleep, "sleep")(0.01)
    assert clock.steps["wait"] >= 0.02
    assert clock.steps["sleep"] >= 0.01


def test_a_measurement_is_kept_whole(tmp_path):
    keep(tmp_path / "new" / "a.json", {"seconds": 1})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"seconds": 1}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
