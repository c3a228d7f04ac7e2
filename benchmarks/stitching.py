"""Stitching by volunet, beside `benchmarks/peers/`: image to labels, slab by slab."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.stitching import Network, measure, options_of, pointwise
from volunet.inference.cover import classify
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine


def main() -> None:
    options = options_of(__doc__)
    effort = Effort(overlap=0.5, batch=options.batch)

    def run(network: Network, image: Any) -> Any:
        return classify((network,), image.numpy(), (options.patch,) * 3, effort)

    engine = TorchEngine(pointwise(options.classes), device="cpu")
    measure(run, engine, options, blend="Gaussian", sums="float32")


if __name__ == "__main__":
    main()
