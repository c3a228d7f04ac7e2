"""Encoders are the published networks, looked at on their way, in two dimensions and three."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.resnet import ResNetFeatures
from torch import nn

from tests.models.encoders.drawn import SMALLEST, encoder, oracle, redraw, resnext_of_monai
from tests.test_import_time import packages_loaded_by
from volunet.errors import ConfigError, ShapeError
from volunet.models.encoders.catalogue import ENCODERS, make_encoder
from volunet.models.encoders.resnext import Template, build

PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50": 25_028_904,
    "resnext101": 88_791_336,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "efficientnet-b0": 5_288_548,
    "efficientnet-b1": 7_794_184,
    "efficientnet-b2": 9_109_994,
    "efficientnet-b3": 12_233_232,
    "efficientnet-b4": 19_341_616,
    "efficientnet-b5": 30_389_784,
    "efficientnet-b6": 43_040_704,
    "efficientnet-b7": 66_347_960,
}
"""Weights of the classifiers of 1000 classes, as torchvision's documentation gives them."""


def weights_of_classifier(name: str, channels: int) -> int:
    """What a classifier has after the encoder: EfficientNets widen four times first."""
    if not name.startswith("efficientnet"):
        return channels * 1000 + 1000
    return channels * 4 * channels + 2 * 4 * channels + 4 * channels * 1000 + 1000


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_halves_five_times_and_has_as_many_weights_as_published(name):
    with torch.device("meta"):
        made = make_encoder(name, 2, 3).eval()
        seen = made(torch.empty(1, 3, 96, 64))
    sizes = [(1, c, 96 // 2**i, 64 // 2**i) for i, c in enumerate(made.channels, start=1)]
    assert [tuple(x.shape) for x in seen] == sizes
    assert made.factors == ((2, 2), (4, 4), (8, 8), (16, 16), (32, 32))
    if name in PUBLISHED:
        counted = sum(weight.numel() for weight in made.parameters())
        assert counted + weights_of_classifier(name, made.channels[-1]) == PUBLISHED[name]


@pytest.mark.parametrize("name", SMALLEST.values())
def test_every_family_works_in_three_dimensions(name):
    made = encoder(name, 3)
    with torch.no_grad():
        seen = made(torch.randn(1, 3, 64, 32, 32))
    assert [x.shape[1] for x in seen] == list(made.channels)
    for x, (factor, *_) in zip(seen, made.factors, strict=True):
        assert tuple(x.shape[2:]) == (64 // factor, 32 // factor, 32 // factor)
        assert x.std() > 0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ["resnet50", "resnet18-padded"])
def test_resnets_see_what_monais_features_see(name, dims):
    theirs = ResNetFeatures(name.split("-")[0], pretrained=False, spatial_dims=dims, in_channels=3)
    redraw(theirs)
    ours, image = make_encoder(name, dims, 3).eval(), torch.randn(1, 3, *(32,) * dims)
    names = {key: key.split(".", 1)[1] for key in ours.state_dict()}
    assert sorted(names.values()) == sorted(theirs.state_dict())
    ours.load_state_dict({key: theirs.state_dict()[name] for key, name in names.items()})
    with torch.no_grad():
        for one, other in zip(ours(image), theirs(image), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_padded_shortcut_lets_gradients_through():
    made = encoder("resnet18-padded", 2)
    image = torch.randn(1, 3, 32, 32)
    block = made[2].layer2[0]
    seen = made[1](made[0](image)).detach().requires_grad_()
    block.downsample(seen).sum().backward()
    assert seen.grad[..., ::2, ::2].eq(1).all()
    assert seen.grad.sum() == seen[..., ::2, ::2].numel()


def test_a_resnext_of_one_group_is_a_resnet():
    ours = build("one group", Template((3, 4, 6, 3), groups=1, width=64), 2, 3).eval()
    theirs, image = encoder("resnet50", 2), torch.randn(1, 3, 64, 32)
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        for one, other in zip(ours(image), theirs(image), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_resnext_is_monais_without_squeeze_and_excitation():
    theirs, image = oracle("resnext50"), torch.randn(1, 3, 64, 32)
    for layer in list(theirs.modules()):
        if "se_layer" in dict(layer.named_children()):
            layer.se_layer = nn.Identity()
    theirs.layer0.pool = nn.MaxPool2d(3, stride=2, padding=1)  # MONAI's begins at the edge
    ours, weights = make_encoder("resnext50", 2, 3).eval(), resnext_of_monai()
    ours.load_state_dict({key: weights[key.split(".", 1)[1]] for key in ours.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(ours(image)[-1], theirs.features(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SMALLEST.values())
def test_odd_sizes_are_refused_with_the_size_to_pad_to(name):
    with pytest.raises(ShapeError, match=r"multiple of \(32, 32\). Pad it to \(64, 32\)"):
        encoder(name, 2)(torch.zeros(1, 3, 33, 20))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 32, 32, 32)])
def test_images_of_other_channels_or_axes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"takes \(B, 3, \*S\) with 2 axes"):
        encoder("resnet10", 2)(torch.zeros(shape))


def test_an_image_that_ends_in_one_voxel_is_refused_while_training_only():
    made = make_encoder("resnet10", 2, 1)
    with pytest.raises(ShapeError, match="larger images, or with several"):
        made(torch.zeros(1, 1, 32, 32))
    made(torch.zeros(2, 1, 32, 32))
    made.eval()(torch.zeros(1, 1, 32, 32))


def test_unknown_names_and_dimensions_are_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no encoder 'resnet5'.*resnet10, resnet18"):
        make_encoder("resnet5", 3, 1)
    with pytest.raises(ShapeError, match="2 or 3 axes"):
        make_encoder("resnet10", 1, 1)


def test_monai_is_loaded_with_its_first_network():
    assert "monai" not in packages_loaded_by("import sys, volunet.models.encoder_unet")
