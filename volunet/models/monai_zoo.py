"""MONAI's networks as families, so that what was trained with them can be packed and run.

MONAI is loaded when one of them is built. Their weights keep MONAI's names.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from volunet.config import Settings
from volunet.errors import MissingExtra, ShapeError
from volunet.models.spec import Family, ModelSpec, Stages

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Layer = str | tuple[str, dict[str, Any]]
"""A layer by MONAI's name for it, alone or with its args."""

UNUSED = ("encoder._conv_head", "encoder._bn1", "encoder._fc")
LEAST_STAGES = 3
"""Of MONAI's DynUNet."""


class SegResNetOptions(Settings):
    """Args as MONAI's `SegResNet` has them."""

    init_filters: Positive = 8
    blocks_down: tuple[Positive, ...] = (1, 2, 2, 4)
    blocks_up: tuple[Positive, ...] = (1, 1, 1)
    act: Layer = ("RELU", {"inplace": True})
    norm: Layer = ("GROUP", {"num_groups": 8})
    dropout_prob: Share | None = None
    upsample_mode: Literal["nontrainable", "deconv", "pixelshuffle"] = "nontrainable"


class SwinOptions(Settings):
    """Args as MONAI's `SwinUNETR` has them."""

    feature_size: Annotated[int, Field(ge=12, multiple_of=12)] = 24
    depths: tuple[Positive, ...] = (2, 2, 2, 2)
    num_heads: tuple[Positive, ...] = (3, 6, 12, 24)
    window_size: Positive = 7
    qkv_bias: bool = True
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    norm_name: Layer = "instance"
    drop_rate: Share = 0.0
    normalize: bool = True
    patch_norm: bool = False
    downsample: Literal["merging", "mergingv2"] = "merging"
    use_v2: bool = False


class DynUNetOptions(Settings):
    """Args as MONAI's `DynUNet` has them; its heads of deep supervision are not built."""

    dropout: Share = 0.0
    norm_name: Layer = ("INSTANCE", {"affine": True})
    act_name: Layer = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})
    trans_bias: bool = False


class AttentionOptions(Settings):
    """Args as MONAI's `AttentionUnet` has them."""

    kernel_size: Positive = 3
    up_kernel_size: Positive = 3
    dropout: Share = 0.0


class MonaiUNetOptions(Settings):
    """Args as MONAI's `UNet` has them."""

    kernel_size: Positive = 3
    up_kernel_size: Positive = 3
    num_res_units: Annotated[int, Field(ge=0)] = 0
    act: Layer = "PRELU"
    norm: Layer = "INSTANCE"
    dropout: Share = 0.0
    bias: bool = True
    adn_ordering: str = "NDA"


class FlexibleOptions(Settings):
    """Args as MONAI's `FlexibleUNet` has them."""

    backbone: str = "efficientnet-b0"
    decoder_channels: tuple[Positive, Positive, Positive, Positive, Positive] = (
        256, 128, 64, 32, 16,
    )  # fmt: skip
    norm: Layer = ("batch", {"eps": 1e-3, "momentum": 0.1})
    act: Layer = ("relu", {"inplace": True})
    dropout: Share = 0.0
    decoder_bias: bool = False
    upsample: Literal["nontrainable", "deconv", "pixelshuffle"] = "nontrainable"
    interp_mode: str = "nearest"


def _segresnet(spec: ModelSpec, options: SegResNetOptions) -> nn.Module:
    from monai.networks.nets import SegResNet

    network: nn.Module = SegResNet(**spec.ends, **dict(options))
    return network


def _segresnet_stages(options: SegResNetOptions) -> Stages:
    stages = len(options.blocks_down)
    return Stages(tuple(options.init_filters * 2**n for n in range(stages)), (2,) * (stages - 1))


def _swin(spec: ModelSpec, options: SwinOptions) -> nn.Module:
    from monai.networks.nets import SwinUNETR

    if find_spec("einops") is None:
        raise MissingExtra("The family swin_unetr", "zoo")
    device = torch.get_default_device()
    with torch.device("cpu"):  # it computes with numbers while it is built
        network: nn.Module = SwinUNETR(**spec.ends, **dict(options))
    return network.to(device)


def _swin_stages(options: SwinOptions) -> Stages:
    return Stages(tuple(options.feature_size * 2 ** max(n - 1, 0) for n in range(6)), (2,) * 5)


def _dynunet(spec: ModelSpec, options: DynUNetOptions) -> nn.Module:
    from monai.networks.nets import DynUNet

    if len(spec.features) < LEAST_STAGES:
        raise ShapeError(
            f"DynUNet has {LEAST_STAGES} stages at the least, and the plan {len(spec.features)}. "
            "Give it more features, or take the family unet."
        )
    network: nn.Module = DynUNet(
        **spec.ends,
        kernel_size=spec.kernels,
        strides=((1,) * spec.spatial_dims, *spec.strides),
        upsample_kernel_size=spec.strides,
        filters=spec.features,
        **{**dict(options), "dropout": options.dropout or None},
        res_block=spec.residual,
    )
    return network


def _attention_unet(spec: ModelSpec, options: AttentionOptions) -> nn.Module:
    from monai.networks.nets import AttentionUnet

    strides: Any = spec.strides
    network: nn.Module = AttentionUnet(
        **spec.ends, channels=spec.features, strides=strides, **dict(options)
    )
    return network


def _monai_unet(spec: ModelSpec, options: MonaiUNetOptions) -> nn.Module:
    from monai.networks.nets import UNet

    strides: Any = spec.strides
    network: nn.Module = UNet(**spec.ends, channels=spec.features, strides=strides, **dict(options))
    return network


def _flexible(spec: ModelSpec, options: FlexibleOptions) -> nn.Module:
    from monai.networks.nets import FlexibleUNet

    network: nn.Module = FlexibleUNet(**spec.ends, **dict(options))
    for name, weight in network.named_parameters():
        if name.startswith(UNUSED):  # of the classifier, which MONAI keeps and nothing looks at
            weight.requires_grad_(False)
    return network


def _flexible_stages(options: FlexibleOptions) -> Stages:
    channels = (*reversed(options.decoder_channels), options.decoder_channels[0])
    return Stages(channels, (2,) * len(options.decoder_channels))


def _family(make: Any, source: str, options: type[Settings], **more: Any) -> Family:
    heeds = more.pop("heeds", frozenset())
    return Family(make, f"MONAI; {source}", options, heeds=heeds, u_shape=False, **more)


HALVED = frozenset({"features", "strides"})

MONAI_FAMILIES: dict[str, Family] = {
    "segresnet": _family(
        _segresnet, "arXiv:1810.11654", SegResNetOptions, stages=_segresnet_stages
    ),
    "swin_unetr": _family(_swin, "arXiv:2201.01266", SwinOptions, stages=_swin_stages),
    "dynunet": _family(
        _dynunet,
        "10.1038/s41592-020-01008-z",
        DynUNetOptions,
        heeds=HALVED | {"kernels", "residual"},
    ),
    "attention_unet": _family(_attention_unet, "arXiv:1804.03999", AttentionOptions, heeds=HALVED),
    "monai_unet": _family(
        _monai_unet, "10.1007/978-3-030-12029-0_40", MonaiUNetOptions, heeds=HALVED
    ),
    "flexible_unet": _family(
        _flexible, "arXiv:1905.11946", FlexibleOptions, stages=_flexible_stages
    ),
}
