"""Costs are what a pencil gives, and what torch really keeps."""

from __future__ import annotations

import torch

from volunet.models.cost import count
from volunet.models.supervision import DeepSupervision
from volunet.models.unet import UNet
from volunet.models.unetpp import UNetPlusPlus


def test_a_network_small_enough_for_a_pencil():
    cost = count(UNet(2, 1, 2, features=(2, 3), strides=(2,)), (4, 4))
    weights = [9 * 2, 9 * 4, 9 * 6, 9 * 9, 4 * 6, 9 * 8, 9 * 4, 4]
    norms = 2 * (2 + 2 + 3 + 3 + 2 + 2)
    biases = 2 + 2
    assert cost.parameters == sum(weights) + norms + biases
    fine, coarse = weights[0] + weights[1] + sum(weights[5:]), weights[2] + weights[3] + weights[4]
    assert cost.multiply_adds == 16 * fine + 4 * coarse
    # Per voxel: image 1, two convolutions and their activations 4 x 2, skip + up 4, again 4 x 2.
    assert cost.kept == {(4, 4): 16 * (1 + 8 + 4 + 8), (2, 2): 4 * 4 * 3}


def test_linear_layers_and_attention_count_too():
    """A transformer of 5 tokens of 8 numbers: in and out of attention, and two layers behind it."""
    net = torch.nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    net = torch.nn.Sequential(torch.nn.Flatten(2), torch.nn.Linear(8, 8), net)
    linear, attention = 8 * 8 + 8 * 24 + 8 * 8 + 2 * 8 * 16, 2 * 5 * 8
    assert count(net, (8,), in_channels=5).multiply_adds == 5 * (linear + attention)


def test_what_is_kept_is_what_torch_keeps():
    net = UNet(3, 1, 3, features=(4, 8), strides=(2,)).to(memory_format=torch.channels_last_3d)
    image = torch.randn(1, 1, 16, 16, 16).to(memory_format=torch.channels_last_3d)
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter) and tensor.ndim == 5:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(image)
    assert count(net, (16, 16, 16)).kept_total == sum(t.numel() for t in kept.values())


def test_counting_leaves_the_network_as_it_was_and_takes_wrapped_ones():
    net = UNet(3, 2, 2, features=(4, 8, 16), strides=(2, 2))
    bare = count(net, (8, 8, 8), in_channels=2)
    deep = count(DeepSupervision(net), (8, 8, 8), in_channels=2)
    assert bare.kept_total == sum(bare.kept.values())
    assert deep.parameters == bare.parameters + 2 * 8 + 2
    assert next(net.parameters()).device.type == "cpu"
    assert not net.encoder[0][0].conv._forward_hooks


def test_with_stages_computed_again_their_inputs_are_kept_and_one_stage():
    net = UNet(2, 1, 2, features=(2, 3), strides=(2,))
    # Kept always: the image, what each stage gives (2 and 3 channels), and the head's input (2).
    # The decoder keeps most: skip + up 4, two convolutions and their activations 4 x 2.
    cost = count(net, (4, 4), recompute=True)
    assert cost.kept == {(4, 4): 16 * (1 + 2 + 2 + 4 + 8 - 2), (2, 2): 4 * 3}
    assert cost.multiply_adds == count(net, (4, 4)).multiply_adds


def test_each_node_of_unetpp_is_a_stage_of_its_own():
    net = UNetPlusPlus(2, 1, 2, features=(2, 3, 4), strides=(2, 2))
    whole, again = (count(net, (8, 8), recompute=r).kept_total for r in (False, True))
    # Kept always: the image, what the three rows and the three nodes give, and nothing twice.
    always = 64 * (1 + 2 + 2 + 2) + 16 * (3 + 3) + 4 * 4
    # The last node sees two maps and its up, and keeps two convolutions and two activations.
    assert again <= always + 64 * (3 * 2 + 4 * 2)
    assert again < whole / 2
