"""The engine runs a network as it is, in the type it is asked for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from volunet.inference.engines.torch_engine import (
    TorchEngine,
    _without_tf32,
    laid_channels_last,
    to_channels_last,
)
from volunet.models.unet import UNet
from volunet.planning.machine import choose_dtype


def small(dims: int = 3) -> UNet:
    torch.manual_seed(0)
    return UNet(dims, 1, 2, features=(4, 8), strides=(2,))


@pytest.mark.parametrize("dims", [2, 3])
def test_gives_what_the_network_gives(dims):
    network, windows = small(dims), torch.randn(2, 1, *(8,) * dims)
    wanted = network(windows).detach()
    logits = TorchEngine(network, device="cpu")(windows)
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)


def test_bfloat16_answers_in_float32_and_close_by():
    network, windows = small(), torch.randn(2, 1, 8, 8, 8)
    exact = TorchEngine(network, device="cpu")(windows)
    logits = TorchEngine(network, device="cpu", dtype=torch.bfloat16)(windows)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, exact)
    assert (logits - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_laid_out_otherwise_are_the_same_weights(dims):
    network, windows = small(dims), torch.randn(1, 1, *(8,) * dims)
    before, wanted = {k: v.clone() for k, v in network.state_dict().items()}, network(windows)
    to_channels_last(network)
    assert not network.decoder[0].block[0].conv.weight.is_contiguous()
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    torch.testing.assert_close(network(windows), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_what_the_first_convolution_sees_one_channel_of_has_its_channels_last(dims):
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    network = small(dims)
    to_channels_last(network)
    first = network.encoder[0][0].conv(torch.randn(16, 1, *(32,) * dims))  # enough for oneDNN
    assert first.is_contiguous(memory_format=layout)
    assert not first.is_contiguous()


def test_float32_is_not_tf32_and_what_others_want_of_cudnn_stays():
    def asked(seconds: float) -> bool:
        with _without_tf32():
            time.sleep(seconds)
            return torch.backends.cudnn.allow_tf32

    assert torch.backends.cudnn.allow_tf32
    with ThreadPoolExecutor(4) as threads:  # of which the first to come is not the last to go
        assert not any(threads.map(asked, [0.02, 0.001, 0.01, 0.001] * 3))
    assert torch.backends.cudnn.allow_tf32


def test_weights_that_are_being_learnt_stay_as_they_lie():
    network = small()
    TorchEngine(network, device="cpu", learning=True)(torch.zeros(1, 1, 8, 8, 8))
    assert all(weight.is_contiguous() for weight in network.parameters())
    TorchEngine(network, device="cpu")
    assert not all(weight.is_contiguous() for weight in network.parameters())


def test_no_gradient_is_kept_and_dropout_sleeps():
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.Dropout(0.9))
    engine, windows = TorchEngine(network, device="cpu"), torch.rand(1, 1, 4, 4, 4)
    logits = engine(windows)
    assert not logits.requires_grad
    assert torch.equal(logits, engine(windows))


def test_the_chosen_type_is_one_the_cpu_can_run():
    dtype = choose_dtype("cpu")
    assert dtype in (torch.float32, torch.bfloat16)
    assert (
        TorchEngine(small(), device="cpu", dtype=dtype)(torch.zeros(1, 1, 8, 8, 8)).isfinite().all()
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_images_of_one_channel_are_laid_out_like_those_of_several(channels):
    image = torch.randn(2, channels, 4, 5, 6)
    laid = laid_channels_last(image)
    assert torch.equal(laid, image)
    assert laid.stride() == (channels * 120, 1, 30 * channels, 6 * channels, channels)
