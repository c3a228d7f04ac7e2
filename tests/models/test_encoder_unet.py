"""A U-Net on any encoder keeps the image's size, learns everywhere, and keeps learnt weights."""

from __future__ import annotations

import pytest
import torch

from tests.models.encoders.drawn import SMALLEST
from volunet.errors import ConfigError, ShapeError
from volunet.models.cost import count
from volunet.models.encoder_unet import EncoderUNet
from volunet.models.encoders.catalogue import make_encoder
from volunet.models.layer_settings import LayerSettings
from volunet.models.supervision import DeepSupervision

FEATURES = (4, 4, 8, 8, 8)


def small(dims=2, encoder="resnet10", **settings):
    return EncoderUNet(dims, 1, 3, encoder=encoder, decoder_features=FEATURES, **settings)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("name", SMALLEST.values())
def test_size_is_kept_and_every_weight_gets_a_gradient(name, attention):
    torch.manual_seed(0)
    net = small(encoder=name, attention=attention)
    logits = net(torch.randn(6, 1, 64, 32))  # so many that no block is left out for all of them
    assert logits.shape == (6, 3, 64, 32)
    logits.square().mean().backward()
    assert [n for n, w in net.named_parameters() if w.grad is None or not w.grad.any()] == []


@pytest.mark.parametrize("attention", [False, True])
def test_size_is_kept_in_three_dimensions(attention):
    net = small(3, attention=attention).eval()
    assert net.divisor == (32, 32, 32)
    assert net(torch.randn(1, 1, 32, 64, 32)).shape == (1, 3, 32, 64, 32)


def test_gates_take_part():
    net = small(attention=True).eval()
    image = torch.randn(1, 1, 32, 32)
    before = net(image)
    torch.nn.init.constant_(net.decoder[0].gate.score.bias, -9.0)
    assert not torch.allclose(net(image), before)


def test_the_finest_stage_sees_the_image_itself():
    net = small().eval()
    one, other = torch.zeros(2, 1, 1, 32, 32)
    other[..., 7, 9] = 1e-2
    skipped = net.decoder[-1].entry
    torch.nn.init.zeros_(net.decoder[-1].step.block[0].conv.weight[:, FEATURES[0] :].data)
    assert skipped(one).shape == (1, FEATURES[0], 32, 32)
    assert not torch.allclose(net(one), net(other))


def test_first_weights_of_the_encoder_are_its_familys_own():
    torch.manual_seed(3)
    alone = make_encoder("efficientnet-b0", 2, 1)
    torch.manual_seed(3)
    net = small(encoder="efficientnet-b0")
    assert all(w.equal(net.encoder.state_dict()[n]) for n, w in alone.state_dict().items())


def test_weights_go_through_a_state_dict_and_stand_under_their_stages():
    net, other = small(attention=True).eval(), small(attention=True).eval()
    other.load_state_dict(net.state_dict())
    image = torch.randn(1, 1, 32, 32)
    assert other(image).equal(net(image))
    stages = {tuple(name.split(".")[:2]) for name in net.state_dict() if name[:4] != "head"}
    assert stages == {(part, str(i)) for part in ("encoder", "decoder") for i in range(5)}


def test_deep_supervision_answers_at_coarser_scales():
    deep = DeepSupervision(small(), scales=3)
    answers = deep(torch.randn(2, 1, 64, 32))
    assert [tuple(a.shape[1:]) for a in answers] == [(3, 64, 32), (3, 32, 16), (3, 16, 8)]
    assert deep.factors == ((1, 1), (2, 2), (4, 4))
    sum(a.square().mean() for a in answers).backward()
    assert all(weight.grad is not None for weight in deep.parameters())


def test_stages_computed_again_give_the_same_gradients():
    net, image, gradients = small(attention=True).eval(), torch.randn(1, 1, 32, 32), []
    for again in (False, True):
        net.recompute = again
        net.zero_grad()
        net(image).square().mean().backward()
        gradients.append([weight.grad.clone() for weight in net.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_its_cost_is_counted_beforehand():
    net = small()
    cost = count(net, (64, 64))
    assert cost.parameters == sum(weight.numel() for weight in net.parameters())
    assert set(cost.kept) >= {(64, 64), (32, 32), (2, 2)}
    assert count(net, (64, 64), recompute=True).kept_total < cost.kept_total


def test_the_decoder_takes_settings_of_its_layers():
    net = small(layers=LayerSettings(normalisation="group", activation="relu")).eval()
    assert isinstance(net.decoder[0].block[0].norm, torch.nn.GroupNorm)
    assert net(torch.randn(1, 1, 32, 32)).shape == (1, 3, 32, 32)


def test_odd_sizes_are_refused_with_the_size_to_pad_to():
    with pytest.raises(ShapeError, match=r"Pad it to \(64, 32\)"):
        small()(torch.zeros(1, 1, 33, 20))
    with pytest.raises(ShapeError, match="with 2 axes"):
        small()(torch.zeros(1, 1, 32, 32, 32))


def test_a_decoder_of_another_depth_and_an_unknown_encoder_are_refused():
    with pytest.raises(ShapeError, match="resnet10 has 5 stages, and decoder_features 2 numbers"):
        EncoderUNet(2, 1, 2, encoder="resnet10", decoder_features=(4, 8))
    with pytest.raises(ConfigError, match="no encoder 'vgg16'"):
        EncoderUNet(2, 1, 2, encoder="vgg16")
