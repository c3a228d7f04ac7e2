"""A network that corrects says the channels it was given where it has nothing to add."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.planning.drawing import estimating_plan
from volunet.models.correction import Correcting, begin_with_nothing
from volunet.models.original import CicekUNet


class Constant(nn.Module):
    """Answers the numbers it was given, one a head, a margin less than it sees."""

    def __init__(self, numbers: list[float], margin: tuple[int, ...]) -> None:
        super().__init__()
        self.numbers, self.margin = torch.tensor(numbers), margin

    def forward(self, x: Tensor) -> Tensor:
        size = [n - 2 * m for n, m in zip(x.shape[2:], self.margin, strict=True)]
        heads = self.numbers.view(1, -1, *[1] * len(size))
        return heads.expand(len(x), -1, *size)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.lists(st.integers(0, 2), min_size=2, max_size=3),
    st.integers(0, 99),
)
def test_each_answer_is_added_to_the_middle_of_its_channel(channels, margin, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4, *(3 + n + 2 * m for n, m in enumerate(margin)), generator=generator)
    numbers = [float(n + 1) for n in range(len(channels))]
    said = Correcting(Constant(numbers, tuple(margin)), channels)(x)
    middle = tuple(slice(m, n - m) for m, n in zip(margin, x.shape[2:], strict=True))
    for head, (channel, number) in enumerate(zip(channels, numbers, strict=True)):
        assert torch.equal(said[:, head], x[:, channel, *middle] + number)


def test_three_voxels_worked_out_by_hand():
    """A kernel without padding says the difference to the left; the middle voxel is added."""
    net = nn.Conv1d(1, 1, 3, bias=False)
    net.weight.data = torch.tensor([[[-1.0, 1.0, 0.0]]])
    x = torch.tensor([[[1.0, 4.0, 9.0, 16.0]]])
    assert Correcting(net, [0])(x).tolist() == [[[4 + 3, 9 + 5]]]


def test_gradients_reach_the_network_and_its_weights_keep_their_names():
    net = nn.Conv3d(2, 1, 3, padding=1)
    correcting = Correcting(net, [1])
    correcting(torch.randn(1, 2, 4, 4, 4)).square().mean().backward()
    assert net.weight.grad.abs().max() > 0
    assert set(correcting.net.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("family", ["unet", "cicek"])
def test_a_network_begins_with_what_is_there_and_can_learn(family):
    torch.manual_seed(0)
    if family == "unet":
        plan = estimating_plan(corrects=True)
        net, head, margin = plan.build_network(), plan.head_axes, plan.margin
    else:  # which answers a margin less
        net = CicekUNet(3, 1, 1, features=(4, 8))
        head, margin = ("head.weight", "head.bias"), net.margin
    begin_with_nothing(net, head)
    x = torch.randn(2, 1, *(16 + 2 * m for m in margin))
    correcting = Correcting(net, [0])
    middle = tuple(slice(m, n - m) for m, n in zip(margin, x.shape[2:], strict=True))
    said = correcting(x)
    assert torch.equal(said, x[..., *middle])
    (said - 1).square().mean().backward()
    assert all(dict(net.named_parameters())[name].grad.abs().max() > 0 for name in head)


def test_a_head_of_several_layers_is_left_alone_and_that_is_told():
    net = CicekUNet(3, 1, 1, features=(4, 8))
    before = [w.clone() for w in net.parameters()]
    assert not begin_with_nothing(net, ("head.weight", "encoder.0.0.weight"))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert begin_with_nothing(net, ("head.weight", "head.bias"))
    assert not net.head.weight.any()
