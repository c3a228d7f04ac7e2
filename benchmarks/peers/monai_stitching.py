"""Stitching by MONAI's `sliding_window_inference`: Gaussian, overlap 0.5, then argmax."""

from __future__ import annotations

from typing import Any

from monai.inferers import sliding_window_inference

from benchmarks.peers.stitching import Network, measure, options_of, pointwise


def main() -> None:
    options = options_of(__doc__)
    roi = (options.patch,) * 3

    def run(network: Network, image: Any) -> Any:
        logits = sliding_window_inference(
            image[None], roi, options.batch, network, overlap=0.5, mode="gaussian"
        )
        return logits[0].argmax(dim=0)

    measure(run, pointwise(options.classes), options, blend="Gaussian", sums="float32")


if __name__ == "__main__":
    main()
