"""Writes `nnunet.npz`: what nnU-Net v2 itself makes of the cases in `nnunet_cases.py`.

Run with a Python that has nnU-Net v2 (2.8.1 was used): `python -m tests.golden.make_nnunet`, from
the root of the repository. For each case it keeps names and shapes of the weights, the prepared
scan (every third voxel of every axis), logits of one window (every second), the label map, and the
label map with windows added up in float32.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference import predict_from_raw_data, sliding_window_prediction
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from tests.golden.nnunet_cases import CASES, Case, plans_of

FILE = Path(__file__).with_name("nnunet.npz")


def main() -> None:
    kept: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        kept |= {f"{name}_{what}": value for what, value in make(case).items()}
    np.savez_compressed(FILE, **kept)


def make(case: Case) -> dict[str, np.ndarray]:
    plans = PlansManager(plans_of(case))
    settings = plans.get_configuration(case.configuration)
    channels = len(case.dataset["channel_names"])
    heads = plans.get_label_manager(case.dataset).num_segmentation_heads
    network = get_network_from_plans(
        settings.network_arch_class_name,
        settings.network_arch_init_kwargs,
        settings.network_arch_init_kwargs_req_import,
        channels,
        heads,
        deep_supervision=False,
    ).eval()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    folds = [
        {key: torch.from_numpy(w) for key, w in case.weights(shapes, fold).items()}
        for fold in range(case.folds)
    ]
    network.load_state_dict(folds[0])
    window = torch.from_numpy(case.scan[:, 0] if case.configuration == "2d" else case.scan)
    patch = tuple(slice(0, n) for n in settings.patch_size)
    window = (window[(slice(None), *patch)][None] - 100) / 50
    with torch.inference_mode():
        logits = network(window)[0]
    properties = {"spacing": list(case.spacing)}
    seen, _, _ = settings.preprocessor_class(verbose=False).run_case_npy(
        case.scan, None, dict(properties), plans, settings, case.dataset
    )
    predictor = nnUNetPredictor(
        use_mirroring=case.mirror is not None, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.manual_initialization(
        network, plans, settings, folds, case.dataset, "nnUNetTrainer", case.mirror
    )
    labels = predictor.predict_single_npy_array(case.scan, dict(properties))
    with_sums_in_float32()
    precise = predictor.predict_single_npy_array(case.scan, dict(properties))
    with_sums_in_float16()
    return {
        "shapes": np.array(json.dumps(shapes)),
        "logits": logits.numpy()[(slice(None), *[slice(None, None, 2)] * (logits.ndim - 1))],
        "window_shape": np.array(window.shape[2:]),
        "prepared_shape": np.array(seen.shape),
        "prepared": seen[:, ::3, ::3, ::3],
        "labels": labels.astype(np.uint8),
        "precise": precise.astype(np.uint8),
    }


def with_sums_in_float32() -> None:
    """Has nnU-Net add up its windows in float32, which it has no option for."""
    torch.half = torch.float32
    wider = partial(sliding_window_prediction.compute_gaussian, dtype=torch.float32)
    predict_from_raw_data.compute_gaussian = wider


def with_sums_in_float16() -> None:
    torch.half = torch.float16
    predict_from_raw_data.compute_gaussian = sliding_window_prediction.compute_gaussian


if __name__ == "__main__":
    main()
