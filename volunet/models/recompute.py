"""Networks whose stages are computed again in the backward pass, which takes less memory."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from volunet.models.unet import UShape


def compute_again(network: nn.Module) -> None:
    """Sets `UShape.recompute` where a network has it.

    Running statistics then see every batch twice; their momentum m is changed to 1 - sqrt(1 - m),
    so that both times together move them as one did.
    """
    for module in network.modules():
        if isinstance(module, UShape):
            module.recompute = True
            for stage in module.stages:
                for norm in stage.modules():
                    if isinstance(norm, _BatchNorm) and norm.momentum is not None:
                        norm.momentum = 1 - (1 - norm.momentum) ** 0.5
