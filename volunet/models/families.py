"""The families of networks there are, by name: what each heeds, where it comes from, how to build.

MONAI's own stand in `monai_zoo`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from volunet.config import Settings, build
from volunet.errors import ConfigError, VolunetError
from volunet.models.encoder_unet import EncoderUNet
from volunet.models.encoders.catalogue import make_encoder
from volunet.models.family_options import (
    Depths,
    EncoderOptions,
    MedNeXtOptions,
    OriginalOptions,
    Padding,
)
from volunet.models.layers import Size, per_axis
from volunet.models.mednext import MEDNEXT_SIZES, MedNeXt
from volunet.models.monai_zoo import MONAI_FAMILIES
from volunet.models.nnunet import NnunetUNet, residual_encoder
from volunet.models.original import CicekUNet, OriginalUNet
from volunet.models.sizes import Sizes
from volunet.models.spec import Family, ModelSpec, Stages
from volunet.models.unet import UNet, UShape
from volunet.models.unetpp import UNetPlusPlus

SHAPE = frozenset({"features", "strides", "kernels"})


def _unet(spec: ModelSpec, _: Any) -> nn.Module:
    shape = {"features": spec.features, "strides": spec.strides, "kernels": spec.kernels}
    gates = {"residual": spec.residual, "attention": spec.attention}
    return UNet(**spec.ends, **shape, **gates, layers=spec.layers)  # type: ignore[arg-type]


def _nnunet(spec: ModelSpec, options: Depths) -> nn.Module:
    stages = len(spec.features)
    published = residual_encoder(spec.spatial_dims, stages)
    usual = published["depths"] if spec.residual else (2,) * stages
    decoder = published["decoder_depths"] if spec.residual else (2,) * (stages - 1)
    return NnunetUNet(
        **spec.ends,
        features=spec.features,
        strides=spec.strides,
        kernels=spec.kernels,
        depths=options.depths or usual,
        decoder_depths=options.decoder_depths or decoder,
        residual=spec.residual,
        attention=spec.attention,
        layers=spec.layers,
    )


def _original(spec: ModelSpec, options: OriginalOptions) -> nn.Module:
    return OriginalUNet(
        **spec.ends,
        features=spec.features,
        padded=options.padded,
        attention=spec.attention,
        dropout=options.dropout,
    )


def _cicek(spec: ModelSpec, options: Padding) -> nn.Module:
    own = {"features": spec.features, "padded": options.padded, "attention": spec.attention}
    return CicekUNet(**spec.ends, **own)  # type: ignore[arg-type]


def _unetpp(spec: ModelSpec, _: Any) -> nn.Module:
    shape = {"features": spec.features, "strides": spec.strides, "kernels": spec.kernels}
    gates = {"attention": spec.attention}
    return UNetPlusPlus(**spec.ends, **shape, **gates, layers=spec.layers)  # type: ignore[arg-type]


def _mednext(spec: ModelSpec, options: MedNeXtOptions) -> nn.Module:
    size, features = MEDNEXT_SIZES[options.size], _mednext_stages(options).features
    return MedNeXt(
        spec.spatial_dims,
        spec.in_channels,
        spec.out_channels,
        features=features,
        kernel=options.kernel,
        expansions=size["expansions"],
        depths=size["depths"],
        attention=spec.attention,
    )


def _mednext_stages(options: MedNeXtOptions) -> Stages:
    return Stages(tuple(options.first * 2**n for n in range(5)), (2,) * 4)


def _encoder(spec: ModelSpec, options: EncoderOptions) -> nn.Module:
    return EncoderUNet(
        **spec.ends,
        encoder=options.encoder,
        decoder_features=options.decoder_features,
        attention=spec.attention,
        layers=spec.layers,
    )


def _encoder_stages(options: EncoderOptions) -> Stages:
    with torch.device("meta"):
        encoder = make_encoder(options.encoder, 3, 1)
    if len(options.decoder_features) != len(encoder):
        raise ConfigError(
            f"The encoder {options.encoder} halves the image {len(encoder)} times, so "
            f"decoder_features has as many entries, finest first; got {options.decoder_features}."
        )
    features = (*options.decoder_features, encoder.channels[-1])
    return Stages(features, (2,) * len(encoder))


FAMILIES: dict[str, Family] = {
    "unet": Family(
        _unet,
        "arXiv:1505.04597, 1606.06650",
        heeds=SHAPE | {"residual", "attention", "layers"},
    ),
    "nnunet": Family(
        _nnunet,
        "10.1038/s41592-020-01008-z, arXiv:2404.09556",
        Depths,
        heeds=SHAPE | {"residual", "attention", "layers"},
    ),
    "original": Family(
        _original,
        "arXiv:1505.04597",
        OriginalOptions,
        heeds=frozenset({"features", "attention"}),
    ),
    "cicek": Family(
        _cicek,
        "arXiv:1606.06650",
        Padding,
        heeds=frozenset({"features", "attention"}),
    ),
    "unetpp": Family(_unetpp, "arXiv:1807.10165", heeds=SHAPE | {"attention", "layers"}),
    "mednext": Family(
        _mednext,
        "arXiv:2303.09975",
        MedNeXtOptions,
        heeds=frozenset({"attention"}),
        stages=_mednext_stages,
    ),
    "encoder": Family(
        _encoder,
        "arXiv:1801.05746",
        EncoderOptions,
        heeds=frozenset({"attention", "layers"}),
        stages=_encoder_stages,
    ),
    **MONAI_FAMILIES,
}


def family_of(name: str) -> Family:
    """The family of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in FAMILIES:
        raise ConfigError(f"There is no family {name!r}. Those there are: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def read_options(family: str, options: Mapping[str, Any]) -> Settings:
    """What a family takes beside the fields of a specification, checked.

    Raises:
        ConfigError: there is no such family, or it does not know one of the options.
    """
    return build(family_of(family).options, options, at=f"options of {family}")


def build_network(spec: ModelSpec) -> nn.Module:
    """The network, with weights drawn at random: (B, in_channels, *S) to (B, out_channels, *S).

    Raises:
        ConfigError: there is no such family, it does not know one of the options, or it has no
            residual blocks, gates or other layers, and these are asked for.
        MissingExtra: it needs a package that is not installed.
        ShapeError: features, strides and kernels do not tell of the same stages. The network
            raises it for an image of a size that it does not take.
    """
    family, options = family_of(spec.family), read_options(spec.family, spec.options)
    for name in ("residual", "attention", "layers"):
        if name not in family.heeds and getattr(spec, name) != ModelSpec.model_fields[name].default:
            heeding = [other for other, known in FAMILIES.items() if name in known.heeds]
            raise ConfigError(
                f"The family {spec.family} has no setting {name!r}. Leave it out, or take one of "
                f"the families that have it: {', '.join(heeding)}."
            )
    try:
        network = family.make(spec, options)
        if not family.u_shape:  # a UShape looks itself
            own = family.stages(options).strides if family.stages else spec.strides
            network.register_forward_pre_hook(_Sized(_halved(spec.spatial_dims, own)))
        return network
    except VolunetError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"A network of the family {spec.family} cannot be built so: {error}. Look at "
            "plan.options, and at what plan.features and plan.strides have to do with them."
        ) from error


@dataclass(frozen=True)
class _Sized:
    """Checks the size of an image before MONAI's networks fail on it."""

    sizes: Sizes

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.sizes.check(tuple(map(int, inputs[0].shape[2:])))


def head_axes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """The axes of each weight, by name, that have one entry for each logit: the network's head.

    They are those that grow with a logit more.

    Raises:
        ConfigError: as for `build_network`.
    """
    more = spec.model_copy(update={"out_channels": spec.out_channels + 1})
    with torch.device("meta"):
        now, grown = build_network(spec).state_dict(), build_network(more).state_dict()
    axes = {
        name: tuple(
            axis
            for axis, (n, m) in enumerate(zip(w.shape, grown[name].shape, strict=True))
            if m > n
        )
        for name, w in now.items()
    }
    return {name: along for name, along in axes.items() if along}


def sizes_of(spec: ModelSpec) -> Sizes:
    """The sizes of images that a network takes, and how much smaller its answer is.

    Raises:
        ConfigError: as for `build_network`.
    """
    return _sizes(spec.model_dump_json())


@lru_cache(maxsize=32)
def _sizes(text: str) -> Sizes:
    spec = ModelSpec.model_validate_json(text)
    if family_of(spec.family).u_shape:
        with torch.device("meta"):
            network = build_network(spec)
        assert isinstance(network, UShape)
        return network.sizes
    return _halved(spec.spatial_dims, spec.strides)


def _halved(dims: int, strides: Sequence[Size]) -> Sizes:
    """The sizes that a network takes which divides them by these strides and loses nothing."""
    step = tuple(map(prod, zip(*(per_axis(stride, dims) for stride in strides), strict=True)))
    return Sizes(step, step, (0,) * dims)
