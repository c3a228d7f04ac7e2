"""Every engine gives torch's logits, for every kind of network that a plan can ask for."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.inference.engines.nets import PATCH, blobs, network
from volunet.errors import ShapeError
from volunet.inference.engines import onnx_engine, openvino_engine
from volunet.inference.engines.agreement import compare
from volunet.inference.engines.engine import Network
from volunet.inference.engines.onnx_engine import OnnxEngine
from volunet.inference.engines.openvino_engine import OpenVinoEngine
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.engines.trial import make_windows

pytest.importorskip("openvino")
pytest.importorskip("onnx")

KINDS = {
    "plain": {},
    "residual": {"residual": True},
    "attention": {"attention": True},
    "thick slices": {"kernels": ((3, 3, 1), 3, 3), "strides": ((2, 2, 1), 2)},
    "flat": {"patch": (16, 24)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_engines_give_the_logits_of_torch(kind):
    net = network(channels=2, **KINDS[kind])
    windows = torch.randn(2, 2, *net.patch)
    wanted = TorchEngine(net.module, device="cpu")(windows)
    for engine in (
        OpenVinoEngine(openvino_engine.convert(net)),
        OnnxEngine(onnx_engine.convert(net)),
    ):
        logits = engine(windows)
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits, wanted, rtol=1e-3, atol=2e-4)
        assert compare(logits, wanted).complaint("fp32") == ""


def test_networks_that_are_no_unet_are_converted_too():
    net, windows = blobs(), make_windows(1, PATCH)
    wanted = TorchEngine(net.module, device="cpu")(windows)
    for engine in (
        OpenVinoEngine(openvino_engine.convert(net)),
        OnnxEngine(onnx_engine.convert(net)),
    ):
        assert compare(engine(windows), wanted).complaint("fp32") == ""


@pytest.mark.skipif(
    "bf16" not in openvino_engine.precisions(), reason="this CPU does not compute in bfloat16"
)
def test_bfloat16_gives_the_masks_of_float32_where_a_network_is_sure():
    net, windows = blobs(), make_windows(1, PATCH)
    wanted = TorchEngine(net.module, device="cpu")(windows)
    logits = OpenVinoEngine(openvino_engine.convert(net), precision="bf16")(windows)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, wanted)
    assert compare(logits, wanted).complaint("bf16") == ""


def test_normalisation_is_one_operation_in_what_is_converted():
    """Spelt out as sums and quotients it would cost a quarter of the time."""
    content = openvino_engine.convert(network())
    assert content.count(b'type="MVN"') == 10
    assert b'type="GroupNormalization"' not in content
    assert onnx_engine.convert(network()).count(b"InstanceNormalization") >= 10


def test_an_answer_outlives_the_next_question():
    net = network()
    one, other = torch.randn(2, 1, 1, *PATCH)
    for engine in (
        OpenVinoEngine(openvino_engine.convert(net)),
        OnnxEngine(onnx_engine.convert(net)),
        TorchEngine(net.module, device="cpu"),
    ):
        first = engine(one)
        kept = first.clone()
        assert not torch.equal(engine(other), kept)
        assert torch.equal(first, kept)


def test_an_image_that_is_laid_out_otherwise_is_the_same_image():
    net = network(channels=2)
    engine = OpenVinoEngine(openvino_engine.convert(net))
    windows = torch.randn(1, 2, *PATCH)
    turned = windows.contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(engine(windows), engine(turned))


def test_windows_of_another_size_are_refused_with_advice():
    engine = OpenVinoEngine(openvino_engine.convert(network()))
    with pytest.raises(ShapeError, match=r"converted for windows of \(1, 16, 24, 16\)"):
        engine(torch.zeros(1, 1, 16, 16, 16))


def test_conversion_leaves_the_network_as_it_was():
    net = network()
    net.module.train()
    before = {name: value.clone() for name, value in net.module.state_dict().items()}
    openvino_engine.convert(net)
    onnx_engine.convert(net)
    assert net.module.training
    assert all(torch.equal(value, before[name]) for name, value in net.module.state_dict().items())


class Unknown(torch.nn.Module):
    """What no converter knows: a step back to numpy."""

    def forward(self, x):
        raise RuntimeError("this cannot be traced")


def test_a_conversion_that_fails_leaves_the_callers_logging_alone():
    root = logging.getLogger()
    before = root.level, root.handlers[:], root.filters[:]
    with pytest.raises(Exception, match="traced"):
        openvino_engine.convert(Network(Unknown(), 1, PATCH, ""))
    assert (root.level, root.handlers, root.filters) == before
