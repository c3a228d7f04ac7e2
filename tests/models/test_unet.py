"""Every kind of U-Net keeps the image's size, learns everywhere, and says how to pad."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volunet.errors import ShapeError
from volunet.models.layer_settings import LayerSettings
from volunet.models.recompute import compute_again
from volunet.models.supervision import DeepSupervision
from volunet.models.unet import UNet
from volunet.training.thin_maps import keep_thin_maps_exact

SMALL = {"features": (4, 8, 16), "strides": (2, 2)}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("attention", [False, True])
def test_size_is_kept_and_every_weight_gets_a_gradient(dims, residual, attention):
    net = UNet(dims, 1, 3, **SMALL, residual=residual, attention=attention)
    logits = net(torch.randn(2, 1, *(16,) * dims))
    assert logits.shape == (2, 3, *(16,) * dims)
    logits.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in net.parameters())


@given(
    strides=st.lists(st.tuples(*[st.integers(1, 2)] * 3), min_size=1, max_size=3),
    times=st.tuples(st.integers(2, 3), st.integers(1, 2), st.integers(1, 2)),
)
def test_any_multiple_of_the_divisor_is_taken_whatever_the_strides(strides, times):
    net = UNet(3, 2, 2, features=(2,) * (len(strides) + 1), strides=tuple(strides))
    size = [d * t for d, t in zip(net.divisor, times, strict=True)]
    assert net(torch.zeros(1, 2, *size)).shape == (1, 2, *size)


def test_thick_slices_may_keep_their_axis_and_their_neighbours_apart():
    net = UNet(
        3, 1, 2, features=(4, 8, 16), strides=((1, 2, 2), 2), kernels=((1, 3, 3), (1, 3, 3), 3)
    )
    assert net.divisor == (2, 4, 4)
    assert net.factors == ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    assert net.encoder[0][0].conv.weight.shape == (4, 1, 1, 3, 3)
    assert net(torch.randn(1, 1, 6, 8, 12)).shape == (1, 2, 6, 8, 12)


def test_a_voxel_far_away_has_no_say_and_a_near_one_has():
    net = UNet(2, 1, 2, features=(4, 4), strides=((1, 1),), kernels=3).eval()
    for block in net.modules():
        if hasattr(block, "norm"):
            block.norm = torch.nn.Identity()
    dark, near, far = (torch.zeros(1, 1, 32, 32) for _ in range(3))
    near[..., 18, 16], far[..., 31, 16] = 1, 1
    moved = [(net(x) - net(dark))[..., 16, 16].abs().max() for x in (near, far)]
    assert moved[0] > 0
    assert moved[1] == 0


def test_an_image_that_does_not_halve_is_refused_with_the_size_to_pad_to():
    net = UNet(3, 1, 2, **SMALL)
    with pytest.raises(ShapeError, match=r"Pad it to \(8, 8, 12\)"):
        net(torch.randn(1, 1, 5, 8, 10))


def test_an_image_that_ends_in_one_voxel_is_refused():
    with pytest.raises(ShapeError, match="larger image or fewer stages"):
        UNet(3, 1, 2, **SMALL)(torch.zeros(1, 1, 4, 4, 4))


@pytest.mark.parametrize("shape", [(1, 2, 8, 8, 8), (1, 1, 8, 8)])
def test_an_image_with_other_channels_or_axes_is_refused(shape):
    with pytest.raises(ShapeError, match=r"The network takes \(B, 1, \*S\) with 3 axes"):
        UNet(3, 1, 2, **SMALL)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"features": (4, 8), "strides": (2, 2)}, "features 2, strides 3"),
        ({"kernels": (3, 3), **SMALL}, "kernels 2"),
        ({"kernels": 2, **SMALL}, "odd side"),
        ({"features": (4, 8), "strides": ((2, 2),)}, "3 dimensions has one or 3 numbers"),
    ],
)
def test_stages_that_do_not_fit_each_other_are_refused(wrong, advice):
    with pytest.raises(ShapeError, match=advice):
        UNet(3, 1, 2, **wrong)


def test_a_fresh_network_neither_shrinks_nor_blows_up_what_it_sees():
    torch.manual_seed(0)
    net = UNet(3, 1, 2, features=(8, 16, 32), strides=(2, 2))
    for stage in net.decode(torch.randn(1, 1, 16, 16, 16)):
        assert 0.3 < stage.std() < 3


def test_the_same_weights_answer_alike_in_both_memory_layouts():
    torch.manual_seed(0)
    net, image = UNet(3, 1, 3, **SMALL).eval(), torch.randn(2, 1, 16, 8, 16)
    plain = net(image)
    turned = net.to(memory_format=torch.channels_last_3d)(
        image.to(memory_format=torch.channels_last_3d)
    )
    torch.testing.assert_close(turned, plain, rtol=1e-5, atol=1e-5)


def test_deep_supervision_adds_coarser_answers_and_leaves_the_net_alone():
    net = UNet(3, 1, 2, **SMALL)
    names = set(net.state_dict())
    deep = DeepSupervision(net, scales=2)
    image = torch.randn(1, 1, 16, 16, 8)
    answers = deep(image)
    assert [tuple(a.shape[2:]) for a in answers] == [(16, 16, 8), (8, 8, 4)]
    assert deep.factors == ((1, 1, 1), (2, 2, 2))
    assert set(net.state_dict()) == names
    torch.testing.assert_close(answers[0], net(image))
    sum(a.square().mean() for a in answers).backward()
    assert all(weight.grad is not None for weight in deep.parameters())


def test_deep_supervision_answers_at_most_once_for_each_decoder_stage():
    for scales, sizes in itertools.product((1, 2, 3, 9), [SMALL]):
        deep = DeepSupervision(UNet(2, 1, 2, **sizes), scales=scales)
        assert len(deep(torch.zeros(1, 1, 8, 8))) == len(deep.factors) == min(scales, 2)


@pytest.mark.parametrize("half", [False, True])
def test_stages_computed_again_give_the_same_gradients(half):
    net = UNet(3, 1, 2, **SMALL, attention=True)
    keep_thin_maps_exact(net)  # else bfloat16 need not say the same twice
    wrapped = DeepSupervision(net, scales=2)
    image, gradients = torch.randn(2, 1, 8, 8, 8), []
    for again in (False, True):
        net.recompute = again
        wrapped.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            sum(out.float().square().mean() for out in wrapped(image)).backward()
        gradients.append([weight.grad.clone() for weight in wrapped.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_running_statistics_move_as_far_where_stages_are_computed_again():
    batch = LayerSettings(normalisation="batch")
    once, again = (UNet(2, 1, 2, **SMALL, layers=batch) for _ in range(2))
    again.load_state_dict(once.state_dict())
    compute_again(again)
    for net in (once, again):
        torch.manual_seed(0)
        for _ in range(3):
            net(torch.randn(2, 1, 8, 8)).square().mean().backward()
    pairs = zip(once.named_buffers(), again.buffers(), strict=True)
    for (name, one), other in pairs:
        assert "tracked" in name or torch.allclose(one, other, atol=1e-6), name
