"""Our two networks of nnU-Net are those of the library it builds them with.

`dynamic-network-architectures` is none of our requirements; where it is installed, run this file
with `pytest tests/models/test_nnunet_parity.py`. What it gave is kept in tests/golden.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from volunet.models.nnunet import NnunetUNet, residual_encoder
from volunet.models.nnunet_keys import translate

unet = pytest.importorskip(
    "dynamic_network_architectures.architectures.unet",
    reason="dynamic-network-architectures is not installed",
)

STRIDES = {2: (2, (2, 1), 2), 3: ((1, 2, 2), 2, 2)}
KERNELS = {2: ((3, 1), 3, 3, 3), 3: ((1, 3, 3), 3, 3, 3)}
CONV = {2: (nn.Conv2d, nn.InstanceNorm2d), 3: (nn.Conv3d, nn.InstanceNorm3d)}


def theirs_for(dims: int, ours: dict[str, Any]) -> nn.Module:
    conv, norm = CONV[dims]
    blocks = "n_blocks_per_stage" if ours["residual"] else "n_conv_per_stage"
    make = unet.ResidualEncoderUNet if ours["residual"] else unet.PlainConvUNet
    return make(
        input_channels=2,
        n_stages=len(ours["features"]),
        features_per_stage=ours["features"],
        conv_op=conv,
        kernel_sizes=KERNELS[dims],
        strides=(1, *STRIDES[dims]),
        num_classes=3,
        n_conv_per_stage_decoder=ours["decoder_depths"][::-1],
        conv_bias=True,
        norm_op=norm,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
        **{blocks: ours["depths"]},
    ).eval()


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_the_same_weights_give_the_same_logits(dims, residual):
    torch.manual_seed(0)
    shape = residual_encoder(dims, 4) if residual else {"residual": False}
    shape |= {"features": (4, 6, 8, 8)}
    if not residual:
        shape |= {"depths": (2, 1, 2, 3), "decoder_depths": (2, 1, 2)}
    ours = NnunetUNet(dims, 2, 3, strides=STRIDES[dims], kernels=KERNELS[dims], **shape).eval()
    theirs = theirs_for(dims, shape)
    for weight in theirs.parameters():
        weight.copy_(torch.randn_like(weight) * 0.3)
    ours.load_state_dict(translate(theirs.state_dict(), ours))
    image = torch.randn(1, 2, *(32,) * dims)
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_residual_encoder_has_the_weights_that_nnu_net_gives_it(dims):
    shape = residual_encoder(dims, 6)
    with torch.device("meta"):
        ours = NnunetUNet(dims, 2, 3, strides=(2,) * 5, kernels=(3,) * 6, **shape)
        conv, norm = CONV[dims]
        theirs = unet.ResidualEncoderUNet(
            2, 6, shape["features"], conv, 3, (1, 2, 2, 2, 2, 2), (1, 3, 4, 6, 6, 6), 3, 1,
            conv_bias=False, norm_op=norm, norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU,
        )  # fmt: skip
    heads = {"decoder.seg_layers.", "decoder.encoder."}
    counted = {
        name: value.numel()
        for name, value in theirs.state_dict().items()
        if ".all_modules." not in name and not any(name.startswith(head) for head in heads)
    }
    rising = sum(up.up.bias.numel() for up in ours.decoder)  # nnU-Net's have none without conv_bias
    head = sum(weight.numel() for weight in ours.head.parameters())
    mine = sum(weight.numel() for weight in ours.parameters())
    assert mine - rising - head == sum(counted.values())
