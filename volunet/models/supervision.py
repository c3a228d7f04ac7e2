"""Deep supervision: a network that answers at coarser scales too, while it trains.

Source: Lee et al. 2015 (arXiv:1409.5185).
"""

from __future__ import annotations

from torch import Tensor, nn

from volunet.models.layers import convolution, initialise
from volunet.models.unet import UShape


class DeepSupervision(nn.Module):
    """A U-Net that also answers at coarser scales while it trains.

    Wraps the network rather than changing it: what is saved and used for inference is the bare
    `net`, with one type of output and no weights that only training needs.

    Args:
        scales: how many sizes it answers at, the image's own among them; at most as many as the
            network has decoder stages.

    Attributes:
        factors: what each answer's size is the image's size divided by, along each axis.
    """

    def __init__(self, net: UShape, *, scales: int = 3) -> None:
        super().__init__()
        dims, classes = len(net.divisor), net.head.out_channels
        self.net = net
        self.factors = net.factors[: min(scales, len(net.decoder))]
        self.heads = nn.ModuleList(
            convolution(dims, channels, classes, 1, bias=True)
            for channels in net.features[1 : len(self.factors)]
        )
        initialise(self.heads)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits at each of the `factors`, finest first."""
        finest, *coarser = reversed(self.net.decode(x))
        scales = zip(self.heads, coarser, strict=False)  # the coarsest go without a head
        return (self.net.head(finest), *(head(seen) for head, seen in scales))
