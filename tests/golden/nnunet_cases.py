"""Small models of nnU-Net's and scans for them, made by formulas that any Python repeats exactly.

Used by `make_nnunet.py`, in an environment with nnU-Net, and by the tests, in one without: it
imports nothing but numpy and the standard library.
"""

from __future__ import annotations

from binascii import crc32
from copy import deepcopy
from dataclasses import dataclass
from math import prod

import numpy as np

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
USUAL = {
    "conv_bias": True,
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}


@dataclass(frozen=True)
class Case:
    """A configuration, a data set, and the scan that it is shown: (C, *shape), axes k, j, i."""

    configuration: str
    plans: dict
    dataset: dict
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    mirror: tuple[int, ...] | None = None
    folds: int = 1
    border: int = 0

    @property
    def scan(self) -> np.ndarray:
        """Blobs and some noise, zeros around them; (C, k, j, i) float32."""
        channels = len(self.dataset["channel_names"])
        return np.stack([_blobs(self.shape, c, self.border) for c in range(channels)])

    def weights(self, shapes: dict[str, tuple[int, ...]], fold: int) -> dict[str, np.ndarray]:
        """A number for each weight of a network whose names and shapes are given."""
        return {name: _weight(name, shape, fold) for name, shape in shapes.items()}


def _wave(count: int, seed: int) -> np.ndarray:
    """Numbers in (-1, 1) without an order that one sees."""
    x = np.arange(1, count + 1, dtype=np.float64) * 12.9898 + (seed % 9973) * 0.7137
    return 2 * np.modf(np.abs(np.sin(x) * 43758.5453))[0] - 1


def _blobs(shape: tuple[int, int, int], seed: int, border: int) -> np.ndarray:
    k, j, i = np.indices(shape) / np.array(shape).reshape(3, 1, 1, 1)
    smooth = sum(
        np.sin((3 + n + seed) * (k + n) + (5 + seed) * j * (1 + n % 2) + (4 + n) * i)
        for n in range(3)
    )
    image = 100 + 60 * smooth + 10 * _wave(prod(shape), seed + 1).reshape(shape)
    image = np.round(np.maximum(image, 1)).astype(np.float32)
    if border:
        inside = np.zeros(shape, dtype=bool)
        inside[border:, border:-border, border + 1 :] = True
        image[~inside] = 0
        image[shape[0] // 2, shape[1] // 2, shape[2] // 2 :][:2] = 0
    return image


def _weight(name: str, shape: tuple[int, ...], fold: int) -> np.ndarray:
    original = name.removeprefix("decoder.").replace(".all_modules.0.", ".conv.")
    original = original.replace(".all_modules.1.", ".norm.")
    if name.startswith("decoder.") and not name.startswith("decoder.encoder."):
        original = "decoder." + original
    wave = _wave(prod(shape), crc32(f"{original} {fold}".encode())).reshape(shape)
    if ".norm." in original:
        return (wave * 0.3 + (1.0 if original.endswith("weight") else 0.0)).astype(np.float32)
    if len(shape) == 1:
        return (0.3 * wave).astype(np.float32)
    fan = prod(shape[1:])
    gain = 8.0 if "seg_layers" in original else 1.7
    return (wave * gain / np.sqrt(fan)).astype(np.float32)


def _plans(name: str, configuration: dict, **changes) -> dict:
    resampling = {
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
    }
    settings = {
        "data_identifier": "tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "batch_dice": False,
        **resampling,
        **configuration,
    }
    return {
        "dataset_name": "Dataset001_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {name: settings},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 300.0,
                "mean": 110.5,
                "median": 100.0,
                "min": 0.0,
                "percentile_00_5": 20.0,
                "percentile_99_5": 220.25,
                "std": 48.75,
            },
            "1": {"mean": 0.0, "std": 1.0, "percentile_00_5": 0.0, "percentile_99_5": 1.0},
        },
        **changes,
    }


def _network(name: str, dims: int, **sizes) -> dict:
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": {
            **sizes,
            **USUAL,
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


THICK = Case(
    configuration="3d_fullres",
    plans=_plans(
        "3d_fullres",
        {
            "patch_size": [8, 16, 16],
            "spacing": [4.0, 1.1, 1.1],
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [True],
            "architecture": _network(
                "PlainConvUNet",
                3,
                n_stages=3,
                features_per_stage=[4, 6, 8],
                kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3]],
                strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
                n_conv_per_stage=[2, 1, 2],
                n_conv_per_stage_decoder=[1, 2],
            ),
        },
    ),
    dataset={
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "edge": 1, "core": 2, "ignore": 3},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    },
    shape=(14, 34, 30),
    spacing=(3.3, 0.9, 0.9),
    mirror=(0, 1, 2),
    folds=2,
    border=2,
)
REGIONS = Case(
    configuration="3d_fullres",
    plans=_plans(
        "3d_fullres",
        {
            "patch_size": [16, 12, 16],
            "spacing": [1.2, 1.0, 1.3],
            "normalization_schemes": ["CTNormalization", "RescaleTo01Normalization"],
            "use_mask_for_norm": [False, False],
            "architecture": _network(
                "ResidualEncoderUNet",
                3,
                n_stages=3,
                features_per_stage=[4, 6, 6],
                kernel_sizes=[[3, 3, 3]] * 3,
                strides=[[1, 1, 1], [2, 2, 2], [2, 1, 2]],
                n_blocks_per_stage=[1, 2, 2],
                n_conv_per_stage_decoder=[1, 1],
            ),
        },
        transpose_forward=[1, 2, 0],
        transpose_backward=[2, 0, 1],
    ),
    dataset={
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "organ": [1, 2, 3], "lesion": [2, 3], "necrosis": 3},
        "regions_class_order": [1, 3, 2],
        "numTraining": 3,
        "file_ending": ".nii.gz",
    },
    shape=(21, 19, 23),
    spacing=(1.0, 1.1, 0.9),
)
SLICES = Case(
    configuration="2d",
    plans=_plans(
        "2d",
        {
            "patch_size": [16, 24],
            "spacing": [1.0, 0.8],
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "UNet_class_name": "PlainConvUNet",
            "UNet_base_num_features": 4,
            "unet_max_num_features": 8,
            "n_conv_per_stage_encoder": [2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2],
            "num_pool_per_axis": [2, 2],
            "pool_op_kernel_sizes": [[1, 1], [2, 2], [2, 2]],
            "conv_kernel_sizes": [[3, 3], [3, 3], [3, 3]],
        },
    ),
    dataset={
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "edge": 1, "core": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    },
    shape=(5, 25, 28),
    spacing=(2.0, 0.875, 0.875),
    mirror=(0, 1),
)
CASES = {"thick": THICK, "regions": REGIONS, "slices": SLICES}


def plans_of(case: Case) -> dict:
    """A copy of a case's plans, to be changed."""
    return deepcopy(case.plans)
