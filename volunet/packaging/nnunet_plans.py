"""nnU-Net's plans.json and dataset.json as a plan of ours, or a refusal that names what is not met.

Both forms of plans are read: with an `architecture`, as nnU-Net writes them since 2.5, and with the
network's sizes among the rest, as it did before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from volunet.config import build
from volunet.errors import ConfigError, ModelError
from volunet.planning.nnunet_plan import NnunetPlan

READERS = {
    "SimpleITKIO": False,
    "NibabelIO": False,
    "SimpleITKIOWithReorient": True,
    "NibabelIOWithReorient": True,
}
"""Readers of nnU-Net's that volunet reads like, and whether they turn scans to RAS."""
SCHEMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale",
    "RGBTo01Normalization": "rgb",
}
NETWORKS = {"PlainConvUNet": False, "ResidualEncoderUNet": True}
SIZES = {"n_stages", "features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage_decoder"}
USUAL = {
    "conv_op": ("torch.nn.modules.conv.Conv2d", "torch.nn.modules.conv.Conv3d"),
    "conv_bias": (True, False),
    "norm_op": (
        "torch.nn.modules.instancenorm.InstanceNorm2d",
        "torch.nn.modules.instancenorm.InstanceNorm3d",
    ),
    "norm_op_kwargs": ({"eps": 1e-5, "affine": True},),
    "dropout_op": (None,),
    "dropout_op_kwargs": (None, {}),
    "nonlin": ("torch.nn.LeakyReLU", "torch.nn.modules.activation.LeakyReLU"),
    "nonlin_kwargs": ({"inplace": True}, {"inplace": True, "negative_slope": 0.01}),
    "deep_supervision": (True, False),
}
"""What else a network is made of, and what volunet's is made of."""


def convert_plans(
    plans: Mapping[str, Any], dataset: Mapping[str, Any], configuration: str, mirror: Sequence[int]
) -> NnunetPlan:
    """A configuration of nnU-Net's plans as a plan of ours.

    Args:
        mirror: axes of the network that it may see flipped, as its checkpoint says.

    Raises:
        ModelError: it asks for what volunet does not do as nnU-Net does.
    """
    settings = _resolve(plans, configuration)
    if configuration == "3d_lowres" or settings.get("previous_stage"):
        raise ModelError(
            f"{configuration} is not yet supported: volunet imports 2d and 3d_fullres, not "
            "3d_lowres and the cascade on top of it."
        )
    try:
        values = {
            "kind": "nnunet",
            **_space(plans, settings, mirror),
            **_channels(plans, dataset, settings),
            **_labels(dataset),
            **_network(settings),
        }
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(
            f"plans.json or dataset.json is not as nnU-Net v2 writes it: {type(error).__name__} "
            f"at {error}."
        ) from error
    try:
        return build(NnunetPlan, values, at="plans.json")
    except ConfigError as error:
        raise ModelError(str(error)) from error


def _resolve(plans: Mapping[str, Any], name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with what it inherits."""
    known = plans.get("configurations", {})
    if not isinstance(known, Mapping) or name not in known or name in seen:
        raise ModelError(f"plans.json has no configuration {name!r}; it has {sorted(known)}.")
    own = dict(known[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_resolve(plans, parent, (*seen, name)), **own}


def _require(what: str, found: object, known: Iterable[object]) -> None:
    if found not in list(known):
        named = ", ".join(map(str, known))
        raise ModelError(
            f"plans.json asks for {what} {found!r}, which volunet does not know. It knows {named}."
        )


def _space(
    plans: Mapping[str, Any], settings: Mapping[str, Any], mirror: Sequence[int]
) -> dict[str, Any]:
    """Axes, spacing, patch and resampling."""
    reader = plans["image_reader_writer"]
    _require("the reader", reader, READERS)
    _require("the label manager", plans.get("label_manager", "LabelManager"), ["LabelManager"])
    _require("the preprocessor", settings["preprocessor_name"], ["DefaultPreprocessor"])
    flat = 3 - len(settings["patch_size"])
    image, logits = (_resampling(settings, of) for of in ("data", "probabilities"))
    _require("logits resampled with order", logits["order"], [1])
    return {
        "turned": READERS[reader],
        "transpose": plans["transpose_forward"],
        "spacing": [float(mm) for mm in settings["spacing"]],
        "patch": [1] * flat + settings["patch_size"],
        "interpolation": image["order"],
        "thick_image": image["thick"],
        "thick_logits": logits["thick"],
        "mirror": [axis + flat for axis in mirror],
    }


def _resampling(settings: Mapping[str, Any], of: str) -> dict[str, Any]:
    name = f"resampling_fn_{of}"
    _require(name, settings[name], ["resample_data_or_seg_to_shape"])
    asked = settings[f"{name}_kwargs"]
    if asked.get("force_separate_z") is not False:
        _require(f"{name} with order_z", asked.get("order_z", 0), [0])
    return {
        "order": asked.get("order", 3),
        "thick": {
            "always": asked.get("force_separate_z"),
            "threshold": float(asked.get("separate_z_anisotropy_threshold", 3)),
        },
    }


def _channels(
    plans: Mapping[str, Any], dataset: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Names of the channels, and how they are scaled."""
    names = dataset.get("channel_names") or dataset["modality"]
    usual = "foreground_intensity_properties_per_channel"
    facts = plans.get(usual) or plans["foreground_intensity_properties_by_modality"]
    intensities = []
    for index, (scheme, masked) in enumerate(
        zip(settings["normalization_schemes"], settings["use_mask_for_norm"], strict=True)
    ):
        _require("the normalization", scheme, SCHEMES)
        intensity: dict[str, Any] = {"scheme": SCHEMES[scheme]}
        if intensity["scheme"] == "zscore":
            intensity["masked"] = bool(masked)
        if intensity["scheme"] == "ct":
            of = facts[str(index)]
            intensity |= {"low": of["percentile_00_5"], "high": of["percentile_99_5"]}
            intensity |= {"mean": of["mean"], "sd": of["std"]}
        intensities.append(intensity)
    channels = [str(names[key]) for key in sorted(names, key=int)]
    return {"channels": channels, "intensities": intensities}


def _labels(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Structures, and where regions are told apart, their order."""
    named = {str(k): v for k, v in dataset["labels"].items() if k != "background"}
    ignore = named.pop("ignore", None)
    if not any(isinstance(v, list) and len(v) > 1 for v in named.values()):
        values = {name: int(v[0] if isinstance(v, list) else v) for name, v in named.items()}
        if sorted(values.values()) != list(range(1, len(values) + 1)):
            raise ModelError(f"The labels must be 1, 2, 3 and so on, got {values}.")
        return {"labels": {"structures": values, "ignore": ignore}}
    regions = {name: list(v) if isinstance(v, list) else [v] for name, v in named.items()}
    regions = {name: v for name, v in regions.items() if set(v) != {0}}
    order = [int(value) for value in dataset["regions_class_order"]]
    if len(order) != len(regions):
        raise ModelError(f"regions_class_order {order} does not fit the regions {regions}.")
    single = {v[0]: name for name, v in regions.items() if len(v) == 1}
    united_values = sorted({value for v in (*regions.values(), order) for value in v} - {0})
    structures = {single.get(value, str(value)): value for value in united_values}
    labels = {"structures": structures, "regions": regions, "ignore": ignore}
    return {"labels": labels, "order": order}


def _network(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of the network; its other parts must be the usual ones."""
    name, sizes = _architecture(settings)
    _require("the network", name, NETWORKS)
    residual = NETWORKS[name]
    per_stage = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    for key, value in sizes.items():
        if key not in {*SIZES, per_stage}:
            _require("the network's", key, USUAL)
            _require(f"a network with {key}", value, USUAL[key])
    stages, flat = len(sizes["features_per_stage"]), 3 - len(settings["patch_size"])
    kernels, strides = ([[1] * flat + s for s in sizes[k]] for k in ("kernel_sizes", "strides"))
    _require("a first stride of", strides[0], [[1, 1, 1]])
    return {
        "features": sizes["features_per_stage"],
        "kernels": kernels,
        "strides": strides[1:],
        "depths": _each(sizes[per_stage], stages),
        "decoder_depths": _each(sizes["n_conv_per_stage_decoder"], stages - 1)[::-1],
        "residual": residual,
    }


def _each(count: int | list[int], stages: int) -> list[int]:
    return [count] * stages if isinstance(count, int) else list(count)


def _architecture(settings: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The class and the sizes of a network, in the newer form of plans."""
    if "architecture" in settings:
        made = settings["architecture"]
        return str(made["network_class_name"]).rpartition(".")[2], made["arch_kwargs"]
    name, depths = str(settings["UNet_class_name"]), settings["n_conv_per_stage_encoder"]
    base, most = settings["UNet_base_num_features"], settings["unet_max_num_features"]
    per_stage = "n_blocks_per_stage" if NETWORKS.get(name) else "n_conv_per_stage"
    return name, {
        "features_per_stage": [min(base * 2**stage, most) for stage in range(len(depths))],
        "kernel_sizes": settings["conv_kernel_sizes"],
        "strides": settings["pool_op_kernel_sizes"],
        per_stage: depths,
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
    }
