"""Our instance normalisation gives torch's numbers and torch's gradients in every layout."""

from __future__ import annotations

from functools import partial
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from volunet.inference.engines.torch_engine import laid_channels_last, to_channels_last
from volunet.models.blocks import ResidualBlock
from volunet.models.instance_norm import InstanceNorm

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def plain(norm: InstanceNorm, x: Tensor) -> Tensor:
    """The same step in torch's own words."""
    y = F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)
    return F.leaky_relu(y, norm.slope)


def without_rectifier(norm: InstanceNorm) -> InstanceNorm:
    """The same weights, and nothing after them."""
    bare = InstanceNorm(len(norm.weight), eps=norm.eps)
    bare.weight, bare.bias = norm.weight, norm.bias
    return bare


def with_gradients(step, norm: InstanceNorm, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """The answer and its gradients by the image, the weight and the bias."""
    x = x.detach().requires_grad_()
    y = step(norm, x)
    return [y, *torch.autograd.grad(y, (x, norm.weight, norm.bias), upstream)]


def drawn(shape: tuple[int, ...], slope: float, seed: int) -> tuple[InstanceNorm, Tensor, Tensor]:
    torch.manual_seed(seed)
    norm = InstanceNorm(shape[1], slope=slope).double()
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(norm.bias, -1, 1)
    return norm, 3 * torch.randn(shape, dtype=torch.float64) + 2, torch.randn(shape).double()


@given(
    st.lists(st.integers(1, 5), min_size=4, max_size=5).filter(lambda s: prod(s[2:]) > 1),
    st.sampled_from([1.0, 0.01]),
    st.integers(0, 99),
    st.booleans(),
)
def test_agrees_with_torch_forward_and_backward(shape, slope, seed, turned):
    norm, x, upstream = drawn(tuple(shape), slope, seed)
    if turned:
        x = x.contiguous(memory_format=LAYOUTS[x.ndim])
    ours = with_gradients(InstanceNorm.__call__, norm, x, upstream)
    for seen, wanted in zip(ours, with_gradients(plain, norm, x, upstream), strict=True):
        torch.testing.assert_close(seen, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_as_exact_as_its_type_far_from_zero_and_in_any_layout(dtype):
    torch.manual_seed(0)
    x = (torch.randn(2, 4, 48, 48, 48) + 30).to(dtype, memory_format=torch.channels_last_3d)
    y = InstanceNorm(4)(x)
    wanted = F.instance_norm(x.double())
    assert y.dtype == dtype
    error = (y.double() - wanted).norm() / wanted.norm()
    assert error < (1e-5 if dtype == torch.float32 else 4e-3)


def test_gradients_stay_within_rounding_under_autocast():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 12, 12, 12).to(torch.bfloat16, memory_format=torch.channels_last_3d)
    norm, upstream = InstanceNorm(8, slope=0.01), torch.randn_like(x)
    with torch.autocast("cpu", torch.bfloat16):
        ours = with_gradients(InstanceNorm.__call__, norm, x, upstream)
    wanted = with_gradients(plain, norm.double(), x.double(), upstream.double())
    for seen, exact in zip(ours, wanted, strict=True):
        assert (seen.double() - exact).norm() / exact.norm() < 5e-3


def test_a_network_turned_to_bfloat16_as_a_whole_learns_too():
    norm = InstanceNorm(4, slope=0.01).bfloat16()
    x = torch.randn(2, 4, 6, 6).bfloat16().contiguous(memory_format=torch.channels_last)
    norm(x).float().square().sum().backward()
    assert norm.weight.grad.dtype == torch.bfloat16


@given(
    st.lists(st.integers(1, 5), min_size=4, max_size=5).filter(lambda s: prod(s[2:]) > 1),
    st.sampled_from([1.0, 0.01, 0.0]),
    st.integers(0, 99),
    st.booleans(),
)
def test_a_shortcut_is_added_before_the_rectifier_and_gets_its_gradient(shape, slope, seed, turned):
    norm, x, upstream = drawn(tuple(shape), slope, seed)
    shortcut = torch.randn(tuple(shape)).double()
    if turned:
        x = x.contiguous(memory_format=LAYOUTS[x.ndim])
    answers = []
    for step in (
        norm,
        lambda x, more: F.leaky_relu(plain(without_rectifier(norm), x) + more, slope),
    ):
        inputs = [t.detach().requires_grad_() for t in (x, shortcut)]
        y = step(*inputs)
        answers.append([y, *torch.autograd.grad(y, (*inputs, norm.weight, norm.bias), upstream)])
    for seen, wanted in zip(*answers, strict=True):
        torch.testing.assert_close(seen, wanted, rtol=1e-7, atol=1e-9)


def test_a_shortcut_that_is_needed_again_is_left_as_it_was():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 6, 6).contiguous(memory_format=torch.channels_last_3d)
    before = x.clone()
    InstanceNorm(4, slope=0.01)(x, x)
    assert torch.equal(x, before)


def in_torchs_words(block: ResidualBlock, x: Tensor) -> Tensor:
    """What a residual block computes, by torch's own functions."""
    bare = without_rectifier(block.second.norm)
    inner = block.first.conv(x)
    inner = plain(block.first.norm, inner)
    return F.leaky_relu(plain(bare, block.second.conv(inner)) + block.shortcut(x), 0.01)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("c_in", "c_out", "stride"), [(1, 6, 1), (4, 4, 1), (4, 6, 1), (4, 6, 2)])
def test_a_residual_block_learns_as_one_in_torchs_words(c_in, c_out, stride, half):
    torch.manual_seed(0)
    block = ResidualBlock(3, c_in, c_out, stride=stride)
    to_channels_last(block)
    shape = (2, c_out, *(8 // stride,) * 3)
    x, upstream = torch.randn(2, c_in, 8, 8, 8), torch.randn(shape)
    x, upstream = laid_channels_last(x), laid_channels_last(upstream)
    if not half:  # in which no sum near 0 falls on the rectifier's other side
        block, x, upstream = block.double(), x.double(), upstream.double()
    found = []
    for step in (block, partial(in_torchs_words, block)):
        x = x.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = step(x)
        block.zero_grad()
        y.backward(upstream.to(y))
        found.append([y.to(x), x.grad, *(w.grad for w in block.parameters())])
    for seen, wanted in zip(*found, strict=True):
        assert (seen - wanted).norm() / wanted.norm() < (5e-2 if half else 1e-10)
