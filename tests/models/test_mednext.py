"""MedNeXt is MONAI's with the same weights, and as large as its paper says.

MONAI widens a step down as the stage it comes from, the authors' code (MIC-DKFZ/MedNeXt) as the
stage it leads to; so its steps down are made anew here, as wide as the authors'.
"""

from __future__ import annotations

import pytest
import torch
from monai.networks.blocks.mednext_block import MedNeXtDownBlock
from monai.networks.nets import MedNeXt as MonaiMedNeXt

from volunet.errors import ShapeError
from volunet.models.mednext import MEDNEXT_SIZES, MedNeXt
from volunet.models.supervision import DeepSupervision

SMALL = {
    "features": (4, 8, 16),
    "strides": (2, 2),
    "expansions": (2, 3, 4),
    "depths": (1, 2, 1),
}
PUBLISHED = {"S": 5.6e6, "B": 10.5e6, "M": 17.6e6, "L": 61.8e6}


def as_monais(ours: MedNeXt) -> dict[str, torch.Tensor]:
    """Our weights under MONAI's names."""
    last = len(ours.decoder)
    parts = {"look": "conv1", "norm": "norm", "expand": "conv2", "compress": "conv3"}
    parts["shortcut"] = "res_conv"
    given = {}
    for name, value in ours.state_dict().items():
        part, *place = name.split(".")
        if part == "head":
            turned = value.transpose(0, 1) if place[0] == "weight" else value  # theirs spreads
            given[f"out_0.conv_out.{place[0]}"] = turned
        elif part == "encoder" and place[:2] == ["0", "0"]:
            given[f"stem.{place[2]}"] = value
        elif part == "encoder" and place[1] == "0":
            given[f"down_blocks.{int(place[0]) - 1}.{parts[place[2]]}.{place[3]}"] = value
        elif part == "encoder":
            stage, block = int(place[0]), int(place[1]) - 1
            at = f"bottleneck.{block}" if stage == last else f"enc_stages.{stage}.{block}"
            given[f"{at}.{parts[place[2]]}.{place[3]}"] = value
        elif place[1] == "up":
            given[f"up_blocks.{place[0]}.{parts[place[3]]}.{place[4]}"] = value
        else:
            given[f"dec_stages.{place[0]}.{place[2]}.{parts[place[3]]}.{place[4]}"] = value
    return given


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kernel", [3, 5])
def test_the_same_weights_give_the_logits_of_monai(dims, kernel):
    torch.manual_seed(0)
    ours = MedNeXt(dims, 2, 3, kernel=kernel, **SMALL).eval()
    theirs = MonaiMedNeXt(
        spatial_dims=dims,
        in_channels=2,
        out_channels=3,
        init_filters=4,
        kernel_size=kernel,
        use_residual_connection=True,
        encoder_expansion_ratio=(2, 3),
        bottleneck_expansion_ratio=4,
        decoder_expansion_ratio=(3, 2),
        blocks_down=(1, 2),
        blocks_bottleneck=1,
        blocks_up=(2, 1),
    ).eval()
    for number, (channels, expansion) in enumerate(((4, 3), (8, 4))):
        theirs.down_blocks[number] = MedNeXtDownBlock(
            channels,
            2 * channels,
            expansion_ratio=expansion,
            kernel_size=kernel,
            use_residual_connection=True,
            norm_type="group",
            dim=f"{dims}d",
        )
    theirs.load_state_dict(as_monais(ours))
    image = torch.randn(1, 2, *(16,) * dims)
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", sorted(MEDNEXT_SIZES))
def test_the_sizes_of_the_paper_have_the_weights_it_counts(size):
    with torch.device("meta"):
        net = MedNeXt(3, 1, 2, **MEDNEXT_SIZES[size])
    weights = sum(weight.numel() for weight in net.parameters())
    assert weights == pytest.approx(PUBLISHED[size], rel=0.01)


def test_a_step_is_as_wide_as_the_stage_it_leads_to():
    with torch.device("meta"):
        net = MedNeXt(3, 1, 2, **MEDNEXT_SIZES["B"])
    # The authors' down_0.conv2 and up_0.conv2 of the size B.
    assert tuple(net.encoder[1][0].expand.weight.shape) == (3 * 32, 32, 1, 1, 1)
    assert tuple(net.decoder[-1].up[0].expand.weight.shape) == (2 * 64, 64, 1, 1, 1)


@pytest.mark.parametrize("dims", [2, 3])
def test_size_is_kept_and_every_weight_gets_a_gradient(dims):
    net = MedNeXt(dims, 1, 3, **SMALL)
    logits = net(torch.randn(2, 1, *(16,) * dims))
    assert logits.shape == (2, 3, *(16,) * dims)
    logits.square().mean().backward()
    assert all(weight.grad is not None for weight in net.parameters())
    assert all(weight.grad.any() for weight in net.parameters() if weight.ndim > 2)


def test_thick_slices_may_keep_their_axis_and_their_neighbours_apart():
    net = MedNeXt(3, 1, 2, **SMALL | {"strides": ((1, 2, 2), (2, 3, 2))}, kernel=(1, 3, 5))
    assert net.divisor == (2, 6, 4)
    assert net.encoder[0][1].look.weight.shape == (4, 1, 1, 3, 5)
    assert net(torch.randn(1, 1, 4, 12, 8)).shape == (1, 2, 4, 12, 8)


def test_deep_supervision_adds_coarser_answers():
    net = MedNeXt(3, 1, 2, **SMALL)
    deep = DeepSupervision(net, scales=2)
    image = torch.randn(1, 1, 16, 16, 8)
    answers = deep(image)
    assert [tuple(a.shape[2:]) for a in answers] == [(16, 16, 8), (8, 8, 4)]
    torch.testing.assert_close(answers[0], net(image))


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"depths": (1, 2)}, "depths 2"),
        ({"expansions": (1, 2)}, "expansions 2"),
        ({"kernel": 4}, "odd side"),
    ],
)
def test_stages_that_do_not_fit_each_other_are_refused(wrong, advice):
    with pytest.raises(ShapeError, match=advice):
        MedNeXt(3, 1, 2, **SMALL | wrong)
