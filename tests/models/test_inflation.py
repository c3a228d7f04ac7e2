"""An inflated network sees in a volume of equal slices what the flat one sees in a slice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import conv2d

import volunet as vn
from tests.models.encoders.drawn import SMALLEST, encoder
from volunet.models.encoders.catalogue import make_encoder
from volunet.models.inflation import adapt_kernel, inflate_kernel, turn_kernel
from volunet.models.weights import load_pretrained


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The weights of the networks in two dimensions, on the disk."""
    folder, kept = tmp_path_factory.mktemp("weights"), {}
    for name in SMALLEST.values():
        kept[name] = folder / f"{name}.pt"
        torch.save(encoder(name, 2).state_dict(), kept[name])
    return kept


def inflated(name, file, *, how="centre", axis=2, channels=3):
    net = make_encoder(name, 3, channels).eval()
    load_pretrained(net, file, inflate=how, depth_axis=axis)
    return net


@torch.no_grad()
def features_of(net, image):
    return net(image)


@pytest.mark.parametrize(
    ("name", "axis"), [*((name, 2) for name in SMALLEST.values()), ("resnet10", 0)]
)
def test_centred_kernels_give_the_features_of_the_slice_everywhere(name, axis, files):
    image = torch.randn(1, 3, 64, 32)
    flat = features_of(encoder(name, 2), image)
    volume = torch.stack([image] * 32, dim=2 + axis)
    deep = features_of(inflated(name, files[name], axis=axis), volume)
    for one, other in zip(flat, deep, strict=True):
        assert one.std() > 0.1
        expected = one.unsqueeze(2 + axis).expand_as(other)
        torch.testing.assert_close(other, expected, rtol=1e-4, atol=1e-4)


def test_averaged_kernels_give_them_out_of_sight_of_the_padding_only(files):
    image = torch.randn(1, 3, 32, 32)
    flat = features_of(encoder("resnet10", 2), image)
    net = inflated("resnet10", files["resnet10"], how="average")
    deep = features_of(net, torch.stack([image] * 64, dim=4))
    # The stem reaches 3 slices far: 2 of its own at the near edge, 1 at the far one. Pooling and
    # two convolutions make that 4 and 3.
    for stage, clean in ((0, slice(2, 31)), (1, slice(4, 13))):
        same = flat[stage][..., None].expand_as(deep[stage]).isclose(deep[stage], 1e-4, 1e-4)
        assert same[..., clean].all()
        assert not same[..., : clean.start].all()
        assert not same[..., clean.stop :].all()


@pytest.mark.parametrize("how", ["centre", "average"])
def test_with_the_edge_repeated_instead_of_zeros_both_ways_give_them_everywhere(how, files):
    flat_net, deep_net = (
        make_encoder("resnet10", 2, 3).eval(),
        make_encoder("resnet10", 3, 3).eval(),
    )
    load_pretrained(flat_net, files["resnet10"])
    load_pretrained(deep_net, files["resnet10"], inflate=how)
    for layer in (*flat_net.modules(), *deep_net.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            layer.padding_mode = "replicate"
    image = torch.randn(1, 3, 32, 32)
    deep = features_of(deep_net, torch.stack([image] * 32, dim=4))
    for one, other in zip(features_of(flat_net, image), deep, strict=True):
        expected = one[..., None].expand_as(other)
        torch.testing.assert_close(other, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet10", "resnext50", "densenet121", "efficientnet-b0"])
def test_a_grey_volume_gives_what_its_copy_in_three_channels_gave(name, files):
    grey = torch.randn(1, 1, 32, 32)
    flat = features_of(encoder(name, 2), grey.expand(1, 3, 32, 32))
    volume = grey[..., None].expand(1, 1, 32, 32, 32)
    deep = features_of(inflated(name, files[name], channels=1), volume)
    for one, other in zip(flat, deep, strict=True):
        torch.testing.assert_close(other, one[..., None].expand_as(other), rtol=1e-4, atol=1e-4)


def test_kernels_are_laid_down_along_the_axis_that_is_asked_for():
    kernel = torch.arange(1.0, 10).view(1, 1, 3, 3)
    for axis in (0, 1, 2):
        centre = inflate_kernel(kernel, 3, how="centre", axis=axis)
        average = inflate_kernel(kernel, 3, how="average", axis=axis)
        assert centre.shape == average.shape == (1, 1, 3, 3, 3)
        assert centre.select(2 + axis, 1).equal(kernel)
        assert centre.select(2 + axis, 0).eq(0).all()
        assert average.select(2 + axis, 0).equal(kernel / 3)
        torch.testing.assert_close(average.sum(2 + axis), kernel)


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ([1.0, 2, 6], 1, [9.0]),
        ([1.0, 2, 6], 2, [1.5, 3]),
        ([1.0, 2, 6], 4, [0.75, 1.5, 4.5, 0.75]),
        ([1.0], 2, [0.5, 0.5]),
    ],
)
def test_a_first_convolution_is_added_up_or_repeated(given, wanted, expected):
    kernel = torch.tensor(given).view(1, -1, 1, 1)
    assert adapt_kernel(kernel, wanted).flatten().tolist() == expected


def test_a_turned_kernel_finds_in_a_picture_what_the_kernel_finds_on_the_page(tmp_path):
    page = np.random.default_rng(0).integers(0, 256, (9, 13), dtype=np.uint8)
    Image.fromarray(page).save(tmp_path / "page.png")
    kernel = torch.randn(2, 1, 3, 3)
    on_page = conv2d(torch.tensor(page, dtype=torch.float32)[None, None], kernel)
    scan = vn.read(tmp_path / "page.png").reoriented("RAS")
    seen = torch.tensor(scan.voxels[0, :, :, 0].astype(np.float32))
    found = conv2d(seen[None, None], turn_kernel(kernel))
    torch.testing.assert_close(found, on_page.mT.flip((-2, -1)), rtol=1e-4, atol=1e-3)
