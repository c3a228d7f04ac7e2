"""Stitching by nnU-Net's predictor: Gaussian, overlap 0.5, sums in float16, then argmax.

The predictor is given a network and the few facts of a plan that it asks for.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from benchmarks.peers.stitching import Network, measure, options_of, pointwise


class Asked(torch.nn.Module):
    """A call as a module, which the predictor moves to its device."""

    def __init__(self, call: Network) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(x)


def main() -> None:
    options = options_of(__doc__)

    def run(network: Network, image: Any) -> Any:
        predictor = nnUNetPredictor(
            tile_step_size=0.5,
            use_gaussian=True,
            use_mirroring=False,
            device=torch.device("cpu"),
            allow_tqdm=False,
        )
        labels = SimpleNamespace(num_segmentation_heads=options.classes)
        predictor.manual_initialization(
            Asked(network),
            SimpleNamespace(get_label_manager=lambda _: labels),
            SimpleNamespace(patch_size=(options.patch,) * 3),
            None,
            {},
            "",
            None,
        )
        return predictor.predict_sliding_window_return_logits(image).argmax(dim=0)

    measure(run, pointwise(options.classes), options, blend="Gaussian", sums="float16")


if __name__ == "__main__":
    main()
