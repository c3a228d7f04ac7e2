"""Settings change what stands around convolutions; without them networks are what they were."""

from __future__ import annotations

import subprocess
import sys
from math import prod
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from volunet.config import build, to_json
from volunet.errors import ConfigError
from volunet.models.blocks import PlainBlock, ResidualBlock
from volunet.models.instance_norm import InstanceNorm
from volunet.models.layer_settings import Activation, Initialisation, LayerSettings, Normalisation
from volunet.models.layers import ConvNorm, groups_of, normalisation
from volunet.models.nnunet import NnunetUNet, residual_encoder
from volunet.models.unet import UNet
from volunet.models.unetpp import UNetPlusPlus

SMALL = {"features": (4, 8), "strides": (2,)}
NORMALISATIONS, ACTIVATIONS = get_args(Normalisation), get_args(Activation)
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


def test_without_settings_a_convolution_is_followed_by_the_fast_step_for_both():
    layer = ConvNorm(3, 1, 4)
    assert isinstance(layer.norm, InstanceNorm)
    assert layer.norm.slope == 0.01
    assert isinstance(layer.activation, nn.Identity)
    assert list(layer.state_dict()) == ["conv.weight", "norm.weight", "norm.bias"]


def test_without_settings_a_network_has_the_names_it_had_before_there_were_any():
    layer = ("conv.weight", "norm.weight", "norm.bias")
    assert list(UNet(2, 1, 2, **SMALL).state_dict()) == [
        *(f"encoder.{at}.{i}.{name}" for at in (0, 1) for i in (0, 1) for name in layer),
        "decoder.0.up.weight",
        "decoder.0.up.bias",
        *(f"decoder.0.block.{i}.{name}" for i in (0, 1) for name in layer),
        "head.weight",
        "head.bias",
    ]


def test_without_settings_a_network_computes_what_it_did_before_there_were_any():
    net, x = UNet(2, 1, 2, **SMALL), torch.randn(2, 1, 8, 8)
    seen = net.encode(x)
    for stage, expected in zip(net.encoder, seen, strict=True):
        for layer in stage:
            x = F.conv2d(x, layer.conv.weight, None, layer.conv.stride, 1)
            x = F.leaky_relu(F.instance_norm(x), 0.01)
        torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", NORMALISATIONS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_pair_keeps_the_size_and_every_weight_learns(dims, norm, act):
    layers = LayerSettings(normalisation=norm, activation=act)
    torch.manual_seed(0)
    net = UNet(dims, 1, 2, **SMALL, residual=True, attention=True, layers=layers)
    logits = net(torch.randn(2, 1, *(8,) * dims))
    assert logits.shape == (2, 2, *(8,) * dims)
    logits.square().mean().backward()
    for weight in net.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
    assert all(weight.grad.any() for weight in net.parameters() if weight.ndim > 2)


@pytest.mark.parametrize("norm", NORMALISATIONS)
def test_both_memory_layouts_give_the_same_logits(norm):
    layers = LayerSettings(normalisation=norm, activation="relu")
    net, image = UNet(3, 1, 2, **SMALL, layers=layers), torch.randn(2, 1, 8, 8, 8)
    turned = image.to(memory_format=torch.channels_last_3d)
    plain = net(image)
    torch.testing.assert_close(
        net.to(memory_format=torch.channels_last_3d)(turned), plain, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda layers: UNetPlusPlus(2, 1, 2, **SMALL, layers=layers),
        lambda layers: NnunetUNet(
            2, 1, 2, **residual_encoder(2, 3), strides=(2, 2), kernels=(3,) * 3, layers=layers
        ),
    ],
)
def test_settings_reach_every_layer_of_the_other_networks(make):
    with torch.device("meta"):
        net = make(LayerSettings(normalisation="batch", activation="silu", dropout=0.1))
    parts = list(net.modules())
    assert not any(isinstance(part, (InstanceNorm, nn.LeakyReLU)) for part in parts)
    for kind in (nn.BatchNorm2d, nn.SiLU, nn.Dropout2d):
        assert any(isinstance(part, kind) for part in parts)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("last", [False, True])
def test_relu_in_one_step_with_instance_normalisation_is_torchs(dims, last):
    x = torch.randn(2, 3, *(6,) * dims)
    x = x.to(memory_format=LAYOUTS[dims]) if last else x
    layer = ConvNorm(dims, 3, 3, kernel=1, layers=LayerSettings(activation="relu"))
    weights = layer.conv.weight, layer.norm.weight, layer.norm.bias
    conv = F.conv2d if dims == 2 else F.conv3d
    expected = F.instance_norm(
        conv(x, weights[0]), weight=weights[1], bias=weights[2], eps=1e-5
    ).relu()
    answer, push = layer(x), torch.randn_like(x)
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad((answer * push).sum(), weights)
    theirs = torch.autograd.grad((expected * push).sum(), weights)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_normalisations_take_their_mean_over_what_they_are_named_after(dims):
    x = 3 + 5 * torch.randn(4, 6, *(8,) * dims)
    spatial = tuple(range(2, 2 + dims))
    over = {"instance": spatial, "batch": (0, *spatial), "layer": (1,)}
    for name, axes in over.items():
        y = normalisation(dims, 6, LayerSettings(normalisation=name))(x)
        torch.testing.assert_close(y.mean(axes), torch.zeros_like(y.mean(axes)), rtol=0, atol=1e-5)
        spread = y.var(axes, correction=0)
        torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0, atol=1e-3)
    grouped = normalisation(dims, 6, LayerSettings(normalisation="group", groups=2))(x)
    halves = grouped.view(4, 2, -1)
    torch.testing.assert_close(halves.mean(-1), torch.zeros(4, 2), rtol=0, atol=1e-5)
    assert normalisation(dims, 6, LayerSettings(normalisation="none"))(x) is x


def test_scales_and_shifts_of_channels_are_applied_by_layer_normalisation():
    norm = normalisation(2, 3, LayerSettings(normalisation="layer"))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 0.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.0, 7.0]))
    y = norm(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1))
    root = (3 / 2) ** 0.5
    torch.testing.assert_close(y.flatten(), torch.tensor([root, 0.0, 7.0]), rtol=1e-4, atol=1e-4)


def test_without_normalisation_convolutions_have_a_bias_and_with_one_they_have_none():
    for name in NORMALISATIONS:
        layer = ConvNorm(2, 2, 2, layers=LayerSettings(normalisation=name))
        assert (layer.conv.bias is not None) == (name == "none")


@given(channels=st.integers(1, 600), most=st.integers(1, 64))
def test_groups_divide_the_channels_and_no_larger_number_up_to_the_most_does(channels, most):
    groups = groups_of(channels, most)
    assert groups <= most
    assert channels % groups == 0
    assert all(channels % larger for larger in range(groups + 1, most + 1))


@pytest.mark.parametrize("norm", NORMALISATIONS)
def test_dropout_takes_whole_maps_while_training_and_nothing_after(norm):
    layers = LayerSettings(normalisation=norm, dropout=0.25)
    layer, x = ConvNorm(3, 2, 400, layers=layers), torch.randn(1, 2, 4, 4, 4)
    torch.manual_seed(0)
    gone = layer(x)[0].flatten(1).eq(0).all(1)
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.07)
    layer.eval()
    assert not layer(x)[0].flatten(1).eq(0).all(1).any()


def test_dropout_leaves_the_shortcut_of_a_residual_block_whole():
    layers = LayerSettings(dropout=0.5)
    drops = {
        kind: [type(part).__name__ for part in kind(2, 2, 2, layers=layers).modules()]
        for kind in (PlainBlock, ResidualBlock)
    }
    assert drops[PlainBlock].count("Dropout2d") == 2
    assert drops[ResidualBlock].count("Dropout2d") == 1


@pytest.mark.parametrize("way", get_args(Initialisation))
def test_first_weights_are_drawn_in_the_way_that_is_named(way):
    torch.manual_seed(0)
    layers = LayerSettings(initialisation=way, activation="relu", head_initialisation="orthogonal")
    net = UNet(2, 1, 4, features=(32, 64), strides=(2,), layers=layers)
    weight = net.encoder[1][1].conv.weight  # 64 channels to 64
    fan = prod(weight.shape[1:])
    spread = {"he": (2 / fan) ** 0.5, "xavier": (1 / fan) ** 0.5, "torch": (1 / (3 * fan)) ** 0.5}
    if way == "orthogonal":
        rows = weight.flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(64), rtol=0, atol=1e-5)
    else:
        assert weight.std().item() == pytest.approx(spread[way], rel=0.03)
    head = net.head.weight.flatten(1)
    torch.testing.assert_close(head @ head.T, torch.eye(4), rtol=0, atol=1e-5)
    assert net.decoder[0].up.bias.any() == (way == "torch")


def test_settings_go_through_a_file_and_can_be_compared():
    layers = LayerSettings(normalisation="group", groups=8, dropout=0.1)
    assert LayerSettings.model_validate_json(to_json(layers)) == layers
    assert {layers, layers.model_copy()} == {layers}


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"normalisation": "insance"}, "instance"),
        ({"activation": "tanh"}, "leaky_relu"),
        ({"dropout": 1.0}, "dropout"),
        ({"normalization": "batch"}, "normalisation"),
        ({"groups": 8}, "groups are those of normalisation = \"group\", not of 'instance'"),
        ({"activation": "relu", "slope": 0.1}, "slope is that of"),
    ],
)
def test_names_and_numbers_that_nobody_knows_are_refused_with_those_that_are_known(wrong, advice):
    with pytest.raises(ConfigError, match=advice):
        build(LayerSettings, wrong, at="recipe.toml")


def test_settings_are_read_without_loading_torch():
    told = "import sys, volunet.models.layer_settings; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
