"""Every family exports to other engines, learns in half precision, and can be compiled."""

import pytest
import torch

from tests.models.test_families import skip_if_missing, spec_for
from volunet.inference.engines import onnx_engine, openvino_engine
from volunet.inference.engines.engine import Network
from volunet.models.families import FAMILIES, build_network, family_of, read_options, sizes_of

families = pytest.mark.parametrize("family", FAMILIES)
slow = pytest.mark.slow


def drawn(family, dims=3):
    """A small network of a family, and an image that it takes."""
    skip_if_missing(family)
    spec = spec_for(family, dims)
    if (stages := family_of(family).stages) is not None:
        strides = stages(read_options(family, spec.options)).strides
        spec = spec.model_copy(update={"strides": tuple((n,) * dims for n in strides)})
    sizes = sizes_of(spec)
    torch.manual_seed(0)
    size = sizes.at_least(max(2 * n, 32) for n in sizes.step)
    return build_network(spec).eval(), torch.randn(1, 2, *size)


@families
@pytest.mark.parametrize("dims", [2, 3])
def test_a_step_in_bfloat16_gives_every_weight_a_finite_gradient(family, dims):
    network, image = drawn(family, dims)
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.cat((image, image.flip(-1))))
    logits.float().square().mean().backward()
    learnt = {name: w.grad for name, w in network.named_parameters() if w.requires_grad}
    assert not [name for name, grad in learnt.items() if grad is None]
    assert all(torch.isfinite(grad).all() for grad in learnt.values())


@families
def test_weights_go_to_another_network_and_give_the_same_logits(family):
    network, image = drawn(family, 2)
    other, _ = drawn(family, 2)
    with torch.no_grad():
        for number in other.state_dict().values():
            if number.is_floating_point():
                number.copy_(torch.rand_like(number))
        assert not torch.equal(other(image), network(image))
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(other(image), network(image))


@slow
@families
@torch.inference_mode()
def test_openvino_gives_the_same_logits_and_masks(family):
    pytest.importorskip("openvino")
    network, image = drawn(family)
    content = openvino_engine.convert(Network(network, 2, tuple(image.shape[2:]), "some model"))
    answer, expected = openvino_engine.OpenVinoEngine(content)(image), network(image)
    torch.testing.assert_close(answer, expected, rtol=1e-3, atol=1e-3)
    assert (answer.argmax(1) == expected.argmax(1)).float().mean() > 0.999


@slow
@families
@torch.inference_mode()
def test_onnx_gives_the_same_logits_and_masks(family):
    pytest.importorskip("onnxruntime")
    network, image = drawn(family)
    content = onnx_engine.convert(Network(network, 2, tuple(image.shape[2:]), "some model"))
    engine = onnx_engine.OnnxEngine(content, device=torch.device("cpu"))
    answer, expected = engine(image), network(image)
    torch.testing.assert_close(answer, expected, rtol=1e-3, atol=1e-3)
    assert (answer.argmax(1) == expected.argmax(1)).float().mean() > 0.999


@slow
@families
@torch.inference_mode()
def test_a_compiled_network_gives_the_same_logits(family):
    network, image = drawn(family, 2)
    compiled = torch.compile(network)
    torch.testing.assert_close(compiled(image), network(image), rtol=1e-3, atol=1e-3)
