"""What holds for every network that is trained and run: half precision, and other engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from volunet.inference.engines import onnx_engine, openvino_engine
from volunet.inference.engines.engine import Network
from volunet.models.layer_settings import LayerSettings
from volunet.models.mednext import MedNeXt
from volunet.models.nnunet import NnunetUNet, residual_encoder
from volunet.models.original import CicekUNet, OriginalUNet
from volunet.models.unet import UNet, UShape
from volunet.models.unetpp import UNetPlusPlus

THREE: dict[str, Any] = {"features": (4, 6, 8), "strides": (2, 2)}
TWO: dict[str, Any] = {"features": (4, 6), "strides": (2,)}
MEDNEXT: dict[str, Any] = THREE | {"expansions": (2, 2, 3), "depths": (1, 1, 1)}
GATES: dict[str, Any] = {"attention": True}


@dataclass(frozen=True)
class Kind:
    """How a network is made, and the size of a window it takes along each axis."""

    make: Callable[..., UShape]
    arguments: dict[str, Any]
    side: int = 16

    def build(self, dims: int = 3) -> UShape:
        torch.manual_seed(0)
        return self.make(dims, 1, 3, **self.arguments)


def _with(**settings: Any) -> Kind:
    return Kind(UNet, TWO | {"residual": True, "layers": LayerSettings(**settings)})


KINDS = {
    "original": Kind(OriginalUNet, {"features": (4, 6)}, 20),
    "original padded": Kind(OriginalUNet, {"features": (4, 6, 8), "padded": True}),
    "cicek": Kind(CicekUNet, {"features": (4, 6)}, 20),
    "unet++": Kind(UNetPlusPlus, THREE),
    "mednext": Kind(MedNeXt, MEDNEXT),
    "residual encoder": Kind(
        NnunetUNet,
        residual_encoder(3, 3) | THREE | {"kernels": (3, 3, 3)},
    ),
    "attention": Kind(UNet, TWO | {"attention": True}),
    "original, attention": Kind(OriginalUNet, {"features": (4, 6), "attention": True}, 20),
    "cicek padded, attention": Kind(CicekUNet, {"features": (4, 6), "padded": True} | GATES),
    "unet++, attention": Kind(UNetPlusPlus, THREE | GATES),
    "mednext, attention": Kind(MedNeXt, MEDNEXT | GATES),
    "batch, silu": _with(normalisation="batch", activation="silu"),
    "group, gelu, dropout": _with(normalisation="group", activation="gelu", dropout=0.1),
    "layer, elu": _with(normalisation="layer", activation="elu"),
    "none, mish": _with(normalisation="none", activation="mish"),
    "instance, relu": _with(activation="relu"),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def _image(kind: Kind, dims: int = 3, batch: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, 1, *(kind.side,) * dims)


@kinds
@pytest.mark.parametrize("dims", [2, 3])
def test_a_training_step_in_bfloat16_gives_finite_gradients(kind, dims):
    net = kind.build(dims)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(_image(kind, dims))
    expected = net.sizes.output_of((kind.side,) * dims)
    assert logits.shape == (2, 3, *expected)
    logits.float().square().mean().backward()
    for weight in net.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()


@kinds
def test_what_the_way_up_sees_has_the_features_it_says(kind):
    net = kind.build()
    seen = net.decode(_image(kind))
    assert [stage.shape[1] for stage in seen] == list(net.features[-2::-1])
    assert len(net.decoder) == len(net.factors) - 1 == len(seen)
    assert net.divisor == net.factors[-1]
    assert net.head.in_channels == net.features[0]


@kinds
@torch.inference_mode()
def test_a_traced_network_gives_the_same_logits(kind):
    net, image = kind.build().eval(), _image(kind)
    with pytest.warns(torch.jit.TracerWarning):  # sizes are checked once, when it is traced
        traced = torch.jit.trace(net, image, check_trace=False)
    torch.testing.assert_close(traced(image), net(image), rtol=1e-4, atol=1e-4)


@kinds
@torch.inference_mode()
def test_an_exported_network_gives_the_same_logits(kind):
    net, image = kind.build().eval(), _image(kind)
    exported = torch.export.export(net, (image,), strict=False).module()
    torch.testing.assert_close(exported(image), net(image), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@kinds
@torch.inference_mode()
def test_openvino_gives_the_same_logits(kind):
    pytest.importorskip("openvino")
    net, image = kind.build().eval(), _image(kind, batch=1)
    content = openvino_engine.convert(Network(net, 1, (kind.side,) * 3, "some model"))
    answer = openvino_engine.OpenVinoEngine(content)(image)
    torch.testing.assert_close(answer, net(image), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@kinds
@torch.inference_mode()
def test_onnx_gives_the_same_logits(kind):
    pytest.importorskip("onnxruntime")
    net, image = kind.build().eval(), _image(kind, batch=1)
    content = onnx_engine.convert(Network(net, 1, (kind.side,) * 3, "some model"))
    answer = onnx_engine.OnnxEngine(content, device=torch.device("cpu"))(image)
    torch.testing.assert_close(answer, net(image), rtol=1e-4, atol=1e-4)
