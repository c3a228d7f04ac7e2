"""Networks and blocks that MONAI has too compute the same with the same weights.

Where the two differ is said here: MONAI's residual blocks let the shortcut skip voxels where ours
averages them, so they agree only where no voxel is skipped, and MONAI's residual U-Net has plain
blocks on its way up, where a stage takes the kernel of the coarser one; its attention gate
normalises the score as well.
"""

from __future__ import annotations

import pytest
import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetResBlock
from monai.networks.nets import DynUNet
from monai.networks.nets.attentionunet import AttentionBlock
from torch import nn

from volunet.models.blocks import AttentionGate, PlainBlock, ResidualBlock
from volunet.models.layer_settings import LayerSettings
from volunet.models.unet import UNet

FEATURES = (4, 6, 8)
STRIDES = {2: (2, (2, 1)), 3: ((1, 2, 2), 2)}
KERNELS = {2: ((3, 1),) * 3, 3: ((1, 3, 3),) * 3}
INSTANCE = ("INSTANCE", {"affine": True})
PARTS = {"0.conv": "conv1.conv", "0.norm": "norm1", "1.conv": "conv2.conv", "1.norm": "norm2"}


def ours_first(weight: torch.Tensor) -> torch.Tensor:
    """The weights of the first convolution after a skip, which MONAI puts last and we first."""
    return weight.roll(weight.shape[1] // 2, dims=1)


def as_monais(ours: UNet) -> dict[str, torch.Tensor]:
    """Our weights under the names of MONAI's DynUNet, which has no bias where it goes up."""
    last, given = len(ours.encoder) - 1, {}
    stages = {0: "input_block", last: "bottleneck"}
    for name, value in ours.state_dict().items():
        part, *place = name.split(".")
        if part == "head":
            given[f"output_block.conv.conv.{place[0]}"] = value
        elif part == "encoder":
            at = stages.get(int(place[0]), f"downsamples.{int(place[0]) - 1}")
            given[f"{at}.{PARTS['.'.join(place[1:3])]}.{place[3]}"] = value
        elif place[1] == "up":
            if place[2] == "weight":
                given[f"upsamples.{place[0]}.transp_conv.conv.weight"] = value
        else:
            joins = place[2:] == ["0", "conv", "weight"]
            at = f"upsamples.{place[0]}.conv_block.{PARTS['.'.join(place[2:4])]}.{place[4]}"
            given[at] = ours_first(value) if joins else value
    return given


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
def test_the_plain_unet_is_monais_dynunet(dims):
    torch.manual_seed(0)
    ours = UNet(dims, 2, 3, features=FEATURES, strides=STRIDES[dims], kernels=KERNELS[dims]).eval()
    theirs = DynUNet(
        spatial_dims=dims,
        in_channels=2,
        out_channels=3,
        kernel_size=KERNELS[dims],
        strides=(1, *STRIDES[dims]),
        upsample_kernel_size=STRIDES[dims],
        filters=FEATURES,
        norm_name=INSTANCE,
    ).eval()
    missing, unknown = theirs.load_state_dict(as_monais(ours), strict=False)
    assert unknown == []
    assert all(name.startswith("skip_layers.") for name in missing)  # the same layers once more
    image = torch.randn(1, 2, *(16,) * dims)
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


def shuffled(module: nn.Module) -> nn.Module:
    """The same module with numbers in place of the ones and zeros that normalisations start at."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + (0.5 if name.endswith("var") else -0.5))
    return module.eval()


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_plain_block_is_monais(dims, stride):
    torch.manual_seed(0)
    ours = shuffled(PlainBlock(dims, 3, 4, stride=stride))
    theirs = UnetBasicBlock(dims, 3, 4, 3, stride, INSTANCE).eval()
    renamed = {f"{PARTS[name[:6]]}{name[6:]}": value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(renamed)
    x = torch.randn(2, 3, *(8,) * dims)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("c_out", [3, 4])
def test_a_residual_block_is_monais_where_no_voxel_is_skipped(dims, c_out):
    torch.manual_seed(0)
    ours = shuffled(ResidualBlock(dims, 3, c_out))
    theirs = UnetResBlock(dims, 3, c_out, 3, 1, INSTANCE).eval()
    places = {"first": "1", "second": "2", "shortcut": "3"}
    renamed = {}
    for name, value in ours.state_dict().items():
        at, *_, kind, what = name.split(".")
        renamed[f"{kind}{places[at]}.{'conv.' if kind == 'conv' else ''}{what}"] = value
    theirs.load_state_dict(renamed)
    x = torch.randn(2, 3, *(8,) * dims)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
def test_an_attention_gate_is_monais_where_both_normalise_over_the_batch(dims):
    torch.manual_seed(0)
    batch = LayerSettings(normalisation="batch")
    ours = shuffled(AttentionGate(dims, 6, decoded=5, layers=batch))
    theirs = AttentionBlock(dims, f_int=3, f_g=5, f_l=6).eval()
    given = {}
    for at, part in (("W_g", ours.query), ("W_x", ours.key)):
        given[f"{at}.0.conv.weight"] = part.conv.weight
        given[f"{at}.0.conv.bias"] = torch.zeros(3)  # ours has none before a normalisation
        given |= {f"{at}.1.{name}": value for name, value in part.norm.state_dict().items()}
    undo = (1 + theirs.psi[1].eps) ** 0.5  # what their fresh normalisation of the score divides by
    given["psi.0.conv.weight"] = ours.score.weight * undo
    given["psi.0.conv.bias"] = ours.score.bias * undo
    theirs.load_state_dict(theirs.state_dict() | given)
    skip, decoded = torch.randn(2, 6, *(8,) * dims), torch.randn(2, 5, *(8,) * dims)
    torch.testing.assert_close(ours(skip, decoded), theirs(decoded, skip), rtol=1e-5, atol=1e-5)
