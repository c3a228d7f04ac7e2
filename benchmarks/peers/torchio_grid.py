"""Stitching by TorchIO's grid sampler and aggregator: Hann weights (it has no Gaussian), argmax."""

from __future__ import annotations

import warnings
from typing import Any

import torchio as tio

from benchmarks.peers.stitching import Network, measure, options_of, pointwise


def main() -> None:
    options = options_of(__doc__)
    warnings.filterwarnings("ignore")

    def run(network: Network, image: Any) -> Any:
        subject = tio.Subject(image=tio.ScalarImage(tensor=image))
        sampler = tio.GridSampler(subject, options.patch, options.patch // 2)
        loader = tio.SubjectsLoader(sampler, batch_size=options.batch)
        aggregator = tio.GridAggregator(sampler, overlap_mode="hann")
        for patches in loader:
            logits = network(patches["image"][tio.DATA])
            aggregator.add_batch(logits, patches[tio.LOCATION])
        return aggregator.get_output_tensor().argmax(dim=0)

    measure(run, pointwise(options.classes), options, blend="Hann", sums="float32")


if __name__ == "__main__":
    main()
