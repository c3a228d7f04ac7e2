"""U-Net++ is MONAI's with the same weights, and trains like every other U-Net here."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNetPlusPlus

from volunet.errors import ShapeError
from volunet.models.supervision import DeepSupervision
from volunet.models.unetpp import UNetPlusPlus

SMALL = {"features": (4, 6, 8), "strides": (2, 2)}


def as_monais(ours: UNetPlusPlus, names: list[str]) -> dict[str, torch.Tensor]:
    """Our weights under MONAI's names, which number the nodes by row and column."""
    last = len(ours.features) - 1
    given = {}
    for name, value in ours.state_dict().items():
        part, *place = name.split(".")
        if part == "head":
            given[f"final_conv_0_{last}.{place[0]}"] = value
            continue
        if part == "encoder":
            row, column, place = int(place[0]), 0, place[1:] if place[0] == "0" else place[2:]
            node = "conv_0_0" if row == 0 else f"conv_{row}_0.convs"
        else:
            below, index = int(place[0]) + 1, int(place[1])
            row = below - 1 - index
            column, place = below - row, place[2:]
            node = f"upcat_{row}_{column}"
            if place[0] == "up":
                given[f"{node}.upsample.deconv.{place[1]}"] = value
                continue
            node, place = f"{node}.convs", place[1:]
        layer = {"conv": "conv", "norm": "adn.N"}[place[1]]
        given[f"{node}.conv_{place[0]}.{layer}.{place[2]}"] = value
    assert set(given) <= set(names)
    return given


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
def test_the_same_weights_give_the_logits_of_monai(dims):
    torch.manual_seed(0)
    features = (4, 4, 8, 16, 32)  # MONAI halves channels on the way up, but to the finest stage
    ours = UNetPlusPlus(dims, 2, 3, features=features).eval().double()
    theirs = BasicUNetPlusPlus(
        spatial_dims=dims,
        in_channels=2,
        out_channels=3,
        features=(*features, 4),
        act=("LeakyReLU", {"negative_slope": 0.01}),
        norm=("instance", {"affine": True}),
        bias=False,
    )
    theirs = theirs.eval().double()
    names = theirs.state_dict()
    missing, unknown = theirs.load_state_dict(as_monais(ours, list(names)), strict=False)
    assert unknown == []
    assert all(name.startswith("final_conv_0_") for name in missing)  # heads of shallower U-Nets
    image = torch.randn(1, 2, *(32,) * dims, dtype=torch.float64)
    torch.testing.assert_close(ours(image), theirs(image)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_node_has_a_say_in_the_logits(dims):
    net = UNetPlusPlus(dims, 1, 2, **SMALL)
    assert [len(diagonal) for diagonal in net.decoder] == [1, 2]
    logits = net(torch.randn(2, 1, *(16,) * dims))
    assert logits.shape == (2, 2, *(16,) * dims)
    logits.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in net.parameters())


def test_without_its_last_diagonal_it_is_a_shallower_one():
    deep = UNetPlusPlus(2, 1, 2, **SMALL)
    shallow = UNetPlusPlus(2, 1, 2, features=(4, 6), strides=(2,))
    shallow.load_state_dict(
        {name: value for name, value in deep.state_dict().items() if name in shallow.state_dict()}
    )
    image = torch.randn(1, 1, 16, 16)
    skips = deep.encode(image)
    node = deep.decoder[0][0](skips[1], skips[0])
    torch.testing.assert_close(shallow.decode(image)[-1], node)


def test_thick_slices_may_keep_their_axis():
    net = UNetPlusPlus(
        3, 1, 2, features=(4, 6, 8), strides=((1, 2, 2), 2), kernels=((1, 3, 3), 3, 3)
    )
    assert net.divisor == (2, 4, 4)
    assert net(torch.randn(1, 1, 6, 8, 12)).shape == (1, 2, 6, 8, 12)


def test_deep_supervision_sees_the_last_diagonal():
    net = UNetPlusPlus(3, 1, 2, **SMALL)
    deep = DeepSupervision(net, scales=2)
    image = torch.randn(1, 1, 16, 16, 8)
    answers = deep(image)
    assert [tuple(a.shape[2:]) for a in answers] == [(16, 16, 8), (8, 8, 4)]
    torch.testing.assert_close(answers[0], net(image))
    sum(a.square().mean() for a in answers).backward()
    assert all(weight.grad is not None for weight in deep.parameters())


def test_nodes_computed_again_give_the_same_gradients():
    net, image, gradients = UNetPlusPlus(2, 1, 2, **SMALL), torch.randn(2, 1, 8, 8), []
    for again in (False, True):
        net.recompute = again
        net.zero_grad()
        net(image).square().mean().backward()
        gradients.append([weight.grad.clone() for weight in net.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"features": (4, 8), "strides": (2, 2)}, "features 2, strides 3"),
        ({"features": (4,), "strides": ()}, "two stages or more"),
    ],
)
def test_stages_that_do_not_fit_each_other_are_refused(wrong, advice):
    with pytest.raises(ShapeError, match=advice):
        UNetPlusPlus(3, 1, 2, **wrong)


def test_an_image_that_does_not_halve_is_refused_with_the_size_to_pad_to():
    with pytest.raises(ShapeError, match=r"Pad it to \(8, 12\)"):
        UNetPlusPlus(2, 1, 2, **SMALL)(torch.zeros(1, 1, 8, 9))
